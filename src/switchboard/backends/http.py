"""The HTTP under a line: several URLs of one server, bounded bodies, and failures that keep their reason.

It sits below the SDK's transport, which ends a whole connection when one request cannot be sent, and forgets the
status of an answer. So whatever goes wrong here becomes a JSON-RPC error, which the SDK gives to the one request.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client

from switchboard.backends.description import Http, Sse
from switchboard.backends.failures import BACKEND_UNAVAILABLE, BAD_GATEWAY

CONNECT_S: Final = 10.0
READ_S: Final = 300.0
SHOWN: Final = 200
ERROR_BYTES: Final = 65_536
TELLING: Final = frozenset({401, 403, 407, 408, 429})
"""What a client can do nothing about by speaking another protocol version; other 4xx may mean just that."""

NO_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=20)


class Road:
    """The connections to one backend, shared by all its lines. Knows which of its URLs answered last."""

    def __init__(self, urls: Sequence[str], most: int) -> None:
        self.urls = tuple(httpx2.URL(url) for url in urls)
        self.most = most
        self._turns = count()
        self._direct = httpx2.AsyncHTTPTransport(limits=NO_LIMITS)
        self._proxied: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._down: dict[httpx2.URL, None] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Road]:
        """Close the connections on the way out."""
        try:
            yield self
        finally:
            for transport in (self._direct, *self._proxied.values()):
                await transport.aclose()

    def choose(self) -> httpx2.URL:
        """A URL for a new line: they take turns, the ones that did not answer last."""
        up = [url for url in self.urls if url not in self._down] or list(self.urls)
        return up[next(self._turns) % len(up)]

    def others(self, url: httpx2.URL) -> list[httpx2.URL]:
        """Where to try when nobody answers at `url`."""
        self._down[url] = None
        return [other for other in self.urls if other != url and other not in self._down]

    def answered(self, url: httpx2.URL) -> None:
        """It is up."""
        self._down.pop(url, None)

    def transport(self, url: httpx2.URL) -> httpx2.AsyncBaseTransport:
        """Directly, or through the proxy that the environment names."""
        proxy = getproxies().get(url.scheme)
        if proxy is None or proxy_bypass(url.host):
            return self._direct
        if proxy not in self._proxied:
            self._proxied[proxy] = httpx2.AsyncHTTPTransport(limits=NO_LIMITS, proxy=proxy)
        return self._proxied[proxy]


class Carrier(httpx2.AsyncBaseTransport):
    """One line's requests on the road."""

    def __init__(self, road: Road, url: httpx2.URL) -> None:
        self._road = road
        self._asked = url
        self.url = url
        """Where the line's requests go now; the SDK goes on asking for the one it was given."""
        self.session: str | None = None
        self.lost = False
        """Whether the backend said that it does not know the line's session any more."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, somewhere; never raises for what the network or the backend does."""
        try:
            response = await self._sent(request)
        except httpx2.TransportError as error:
            return _refusal(503, BACKEND_UNAVAILABLE, f"{_reason(error)} ({_shown(request.url)})")
        self.session = response.headers.get(MCP_SESSION_ID) or self.session
        if response.status_code == 404 and MCP_SESSION_ID in request.headers:
            self.lost = True
        return await self._checked(response)

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        ours = request.url == self._asked
        while True:
            if ours:
                request.url = self.url
                request.headers["host"] = self.url.netloc.decode("ascii")
            try:
                response = await self._road.transport(request.url).handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                # It was never sent, so another one may have it: but only the one that made it knows a session.
                others = self._road.others(self.url)
                if not ours or not others or MCP_SESSION_ID in request.headers:
                    raise
                self.url = others[0]
            else:
                self._road.answered(self.url)
                return response

    async def _checked(self, response: httpx2.Response) -> httpx2.Response:
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            return _refusal(502, BAD_GATEWAY, "its answer is compressed, which was not asked for")
        if response.status_code >= 400:
            return _explained(response, await _beginning(response))
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            return response  # the SDK bounds each event
        stream: Any = response.stream
        return httpx2.Response(response.status_code, headers=response.headers, stream=Bounded(stream, self._road.most))

    async def aclose(self) -> None:
        """The road stays: other lines are on it."""


class Bounded(httpx2.AsyncByteStream):
    """A body of at most so many bytes."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > self._most:
                    raise httpx2.StreamError(f"it sent a message of more than {self._most} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(_reason(error)) from error

    async def aclose(self) -> None:
        """Close the connection's stream."""
        await self._inner.aclose()


def client(carrier: Carrier, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client for one line."""
    timeout = httpx2.Timeout(CONNECT_S, read=READ_S)
    plain = {**headers, "accept-encoding": "identity"}
    return httpx2.AsyncClient(transport=carrier, headers=plain, timeout=timeout)


@asynccontextmanager
async def streamable(
    what: Http, carrier: Carrier, most: int, *, resume: str | None = None, leave: Callable[[], bool] = lambda: False
) -> AsyncIterator[tuple[Any, Any]]:
    """Streams over Streamable HTTP.

    Args:
        resume: an upstream session that another line has made.
        leave: asked at the end, whether to leave the upstream session to others.
    """
    headers = {**what.headers, **({MCP_SESSION_ID: resume} if resume else {})}
    async with client(carrier, headers) as http:
        opened: AbstractAsyncContextManager[tuple[Any, Any]] = streamable_http_client(
            str(carrier.url), http_client=http, terminate_on_close=False, max_sse_event_size=most
        )
        async with opened as streams:
            try:
                yield streams
            finally:
                if carrier.session and not resume and not carrier.lost and not leave():
                    await http.delete(str(carrier.url), headers={MCP_SESSION_ID: carrier.session}, timeout=2.0)


@asynccontextmanager
async def sse(what: Sse, carrier: Carrier) -> AsyncIterator[tuple[Any, Any]]:
    """Streams over HTTP+SSE."""

    def factory(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,  # noqa: ARG001 (the SDK's factory has it)
        auth: httpx2.Auth | None = None,  # noqa: ARG001
    ) -> httpx2.AsyncClient:
        return client(carrier, headers or {})

    async with sse_client(what.url, headers=dict(what.headers), httpx_client_factory=factory) as streams:
        yield streams


def _refusal(status: int, code: int, message: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=json.dumps(body).encode())


async def _beginning(response: httpx2.Response) -> bytes:
    text = b""
    try:
        async for chunk in response.aiter_raw():
            text += chunk
            if len(text) > ERROR_BYTES:
                break
    except httpx2.TransportError:
        return b""
    finally:
        await response.aclose()
    return text


def _explained(response: httpx2.Response, body: bytes) -> httpx2.Response:
    """An answer with an error status: a JSON-RPC error as it is, anything else (a proxy's page, say) as one."""
    status = response.status_code
    try:
        if "error" in json.loads(body) and b'"jsonrpc"' in body:
            return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)
    except (ValueError, TypeError):
        pass
    said = " ".join(body[:SHOWN].decode(errors="replace").split()) or response.reason_phrase
    wrong_era = 400 <= status < 500 and status not in TELLING
    return _refusal(status, BAD_GATEWAY if wrong_era else BACKEND_UNAVAILABLE, f"HTTP {status} {said}".strip())


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError) or "certificate" in str(error).lower():
        return f"the certificate was not accepted: {error}"
    return str(error) or type(error).__name__


def _shown(url: httpx2.URL) -> str:
    """A URL without what may be secret in it."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
