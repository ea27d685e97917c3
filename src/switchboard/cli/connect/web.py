"""HTTP to the server: waits for one that cannot be reached, and makes an answer of whatever goes wrong.

The SDK's transport ends a whole connection when one request cannot be sent, and gives up a stream after two tries. So
nothing is raised from here: a request gets a JSON-RPC error that says what happened, a stream is asked for again.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import httpx2
from mcp.client.auth import OAuthFlowError
from mcp.client.streamable_http import MCP_SESSION_ID
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from switchboard.backends.errors import BACKEND_UNAVAILABLE
from switchboard.errors import SwitchboardError

CONNECT_S: Final = 10.0
READ_S: Final = 300.0
"""Without a byte; a server sends a comment now and then."""

WAIT_S: Final = 30.0
"""How long a message waits for a server that is not there; it was not sent, or the server said that it did nothing."""

PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
SESSION_LOST: Final = -32098
"""Between this file and the bridge: the server does not know the session, and did nothing. No client sees it."""

NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
RETRIED: Final = frozenset({502, 503, 504})


class Web(httpx2.AsyncClient):
    """Knows the server by its address, for messages about it.

    Args:
        lost: told when the server does not know the session any more.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str],
        auth: httpx2.Auth | None,
        lost: Callable[[], None],
        patience: float = WAIT_S,
    ) -> None:
        super().__init__(headers=headers, auth=auth, timeout=httpx2.Timeout(CONNECT_S, read=READ_S))
        self._shown = str(httpx2.URL(url).copy_with(userinfo=b"", query=None, fragment=None))
        self._lost = lost
        self._patience = patience
        self._loss = anyio.Event()
        self.answered = False
        """Whether the server ever gave an answer that was its own."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send, again and again while nobody is there; never raises for what the network or the server does."""
        waiting = request.method == "GET"  # a stream is worth nothing but its being open
        ending = request.method == "DELETE"
        until = float("inf") if waiting else anyio.current_time() + (0 if ending else self._patience)
        attempt, loss = 0, self._loss
        while True:
            if loss.is_set() and MCP_SESSION_ID in request.headers:
                return _answer(request, 404, SESSION_LOST, "the session was gone before this was sent")
            response, reason, again = await self._tried(request, options)
            if response is not None:
                return response
            if not again or anyio.current_time() >= until:
                return _answer(request, 503, BACKEND_UNAVAILABLE, reason)
            with anyio.move_on_after(PAUSES_S[min(attempt, len(PAUSES_S) - 1)] * random.uniform(0.8, 1.2)):  # noqa: S311
                await loss.wait()
            attempt += 1

    async def _tried(
        self, request: httpx2.Request, options: dict[str, Any]
    ) -> tuple[httpx2.Response | None, str, bool]:
        """The answer; or why there is none, and whether it is worth, and safe, to try again."""
        try:
            response = await super().send(request, **options)
        except NOT_SENT as error:
            return None, f"{self._shown} cannot be reached: {_words(error)}", True
        except httpx2.HTTPError as error:
            return None, f"{self._shown} did not answer: {_words(error)}", request.method == "GET"
        except (OAuthFlowError, SwitchboardError) as error:
            return None, f"Not signed in to {self._shown}: {_words(error)}", False
        if response.status_code in RETRIED and (request.method == "GET" or "retry-after" in response.headers):
            await response.aclose()
            return None, f"{self._shown} answered HTTP {response.status_code}", True
        return await self._judged(request, response), "", False

    async def _judged(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status = response.status_code
        if status == 404 and MCP_SESSION_ID in request.headers and request.method != "DELETE":
            await response.aclose()
            self._loss.set()
            self._loss = anyio.Event()
            self._lost()
            return _answer(request, 404, SESSION_LOST, "the session is gone")
        if status < 400:
            self.answered = True
            return response if request.method != "GET" else _ending_well(response)
        body = await response.aread()
        await response.aclose()
        if _is_error(body):
            self.answered = self.answered or status not in (401, 403)
            return httpx2.Response(status, headers={"content-type": "application/json"}, content=body, request=request)
        said = " ".join(body[:200].decode(errors="replace").split()) or response.reason_phrase
        code = METHOD_NOT_FOUND if status in (404, 405) else INTERNAL_ERROR
        return _answer(request, status, code, f"{self._shown} answered HTTP {status} {said}".strip())


class _EndingWell(httpx2.AsyncByteStream):
    """A stream that was cut off ends like any other."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except httpx2.TransportError:
            return

    async def aclose(self) -> None:
        """Close the connection's stream."""
        await self._inner.aclose()


def _ending_well(response: httpx2.Response) -> httpx2.Response:
    """The SDK counts streams that were cut off, however much time lies between, and after two asks for no other."""
    stream: Any = response.stream
    return httpx2.Response(
        response.status_code, headers=response.headers, stream=_EndingWell(stream), request=response.request
    )


def _answer(request: httpx2.Request, status: int, code: int, message: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    headers = {"content-type": "application/json"}
    return httpx2.Response(status, headers=headers, content=json.dumps(body).encode(), request=request)


def _is_error(body: bytes) -> bool:
    try:
        found = json.loads(body)
    except ValueError:
        return False
    return isinstance(found, dict) and "error" in found and "jsonrpc" in found


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
