"""The HTTP under a connection: several URLs of one server, and failures that keep their reason.

It sits below the SDK's transport, which ends a whole connection when one request cannot be sent, and forgets the
status of an answer. So whatever goes wrong here becomes a JSON-RPC error, which the SDK gives to the one request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import anyio
import httpx2
import structlog
from mcp.client.sse import sse_client
from mcp.client.streamable_http import LAST_EVENT_ID, MCP_SESSION_ID, streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, RequestId

from switchboard.backends.config import Sse
from switchboard.backends.errors import ACCESS_REFUSED, BACKEND_UNAVAILABLE, BAD_GATEWAY
from switchboard.backends.transports import repairs
from switchboard.backends.transports.answers import (
    ACCESS_STATUSES as REFUSED_STATUSES,
)
from switchboard.backends.transports.answers import (
    BoundedBody,
    beginning,
    complaint,
    explained,
    forgotten,
    reason,
    refusal,
    shown,
)
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.http_client import HttpClient
from switchboard.errors import CredentialUnavailable
from switchboard.outbound_auth.credentials import ACCESS_STATUSES, PersonCredentials

log = structlog.get_logger("switchboard.backends")

CONNECT_S: Final = 10.0
READ_S: Final = 300.0
DELETE_S: Final = 2.0
NOTICE_S: Final = 10.0
"""What a server gets to take a notification or an answer: the SDK sends nothing else on that connection meanwhile."""

CREDENTIAL: Final = "switchboard.credential"
"""The extension of an answer that has what the credential of its request was."""

STREAM_REQUEST: Final = "switchboard.listening"
"""The extension of a request that is not the SDK's."""

AWAY_STATUSES: Final = frozenset({502, 503, 504})
"""Answers of a proxy whose server is away."""

InHand = tuple[httpx2.Response, httpx2.URL] | httpx2.TransportError
"""The answer to a request and whose it is, or why there is none."""

Sent = TypeVar("Sent")


class FailoverTransport(httpx2.AsyncBaseTransport):
    """Sends one connection's requests to one of the backend's URLs, and to the next if that one cannot be reached.

    Args:
        keeps_stream: whether `session_stream` reads the session's own stream, instead of the SDK.
        credentials: what each request carries, whichever way it goes; this is the one place that adds it.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        url: httpx2.URL,
        *,
        keeps_stream: bool = False,
        credentials: PersonCredentials | None = None,
    ) -> None:
        self._endpoints = endpoints
        self.credentials = credentials
        self.address = url
        """What requests of the connection are addressed to, wherever they go."""
        self.keeps_stream = keeps_stream
        self.url = url
        """Where the connection's session is; what it asks for stays the one it was given."""
        self.session: str | None = None
        self.home = url
        """Which URL made the session."""
        self.last_used = time.monotonic()
        self.complaint = ""
        """Why the last request had no answer of use; the SDK forgets it."""
        self.refused = False
        """Whether it was because of its credential."""

        self.in_hand: dict[RequestId, InHand] = {}
        """What came for requests that were sent already, until the SDK's transport comes to send them."""

        self.send_answer: Callable[[SessionMessage], Awaitable[None]] | None = None
        """Where answers come on a stream of their own: what is taken for one there."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, somewhere; never raises for what the network or the backend does."""
        if STREAM_REQUEST not in request.extensions:
            if self.keeps_stream and request.method == "GET" and LAST_EVENT_ID not in request.headers:
                return refusal(405, BAD_GATEWAY, "this connection reads the stream by itself")
            self.last_used = time.monotonic()
        response = await self._answered(request)
        self.complaint = complaint(response) if response.status_code >= 400 else ""
        self.refused = response.status_code in REFUSED_STATUSES
        if self.send_answer is not None and request.method == "POST" and response.status_code >= 300:
            return await self._send_refusal(self.send_answer, request, response)
        return response

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        notice = request.method == "POST" and repairs.asked(request) is None
        try:
            async with asyncio.timeout(NOTICE_S if notice else None):
                response, url = await self._sent(request)
                if self.credentials is not None and response.status_code in ACCESS_STATUSES:
                    response, url = await self._sent_again(self.credentials, request, response, url)
        except TimeoutError:
            log.info("backend.notification_unanswered", within_s=NOTICE_S)
            return httpx2.Response(202)
        except CredentialUnavailable as error:
            return refusal(401, ACCESS_REFUSED, str(error))
        except httpx2.TransportError as error:
            return refusal(503, BACKEND_UNAVAILABLE, f"{reason(error)} ({shown(request.url)})")
        in_session = MCP_SESSION_ID in request.headers and request.method == "POST"
        # Whoever never made the session may well call it a bad request.
        if in_session and (response.status_code == 404 or (response.status_code == 400 and url != self.home)):
            await response.aclose()
            return forgotten()
        self._note(response, url)
        return await self._checked(response, repairs.asked(request))

    async def _send_refusal(
        self, send: Callable[[SessionMessage], Awaitable[None]], request: httpx2.Request, response: httpx2.Response
    ) -> httpx2.Response:
        """Give a refusal to the one request: the SDK would end the connection of all."""
        number = repairs.asked(request)
        if number is None:
            log.info("backend.message_refused", status=response.status_code)
        else:
            try:
                error = ErrorData.model_validate(json.loads(await response.aread())["error"])
            except (ValueError, KeyError, TypeError, httpx2.StreamError):
                error = ErrorData(code=BAD_GATEWAY, message=f"HTTP {response.status_code}")
            await send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error)))
        return httpx2.Response(202)

    async def _sent_again(
        self, credentials: PersonCredentials, request: httpx2.Request, refused: httpx2.Response, url: httpx2.URL
    ) -> tuple[httpx2.Response, httpx2.URL]:
        """The answer to a request that was refused, and so not served, with the credential that there is now.

        It is the refusal, if there is none but the one that was refused. It is not sent a third time.
        """
        sent: Mapping[str, str] = refused.extensions.get(CREDENTIAL, {})
        if not await credentials.rejected(sent, refused.status_code, refused.headers.get("www-authenticate", "")):
            return refused, url
        await refused.aclose()
        return await self._sent(request)

    async def credential(self, url: httpx2.URL) -> Mapping[str, str]:
        """The headers that authorize a request; none for one that a server sends elsewhere than to the backend.

        Raises:
            CredentialUnavailable: there is none.
        """
        if self.credentials is None or (url.scheme, url.netloc) not in self._endpoints.origins:
            return {}
        return await self.credentials.headers()

    async def _sent(self, request: httpx2.Request) -> tuple[httpx2.Response, httpx2.URL]:
        """The answer, and whose it is."""
        if self.in_hand and (number := repairs.asked(request)) in self.in_hand and number is not None:
            found = self.in_hand.pop(number)
            if isinstance(found, Exception):
                raise found
            return found
        if self.credentials is None:
            return await self._sent_somewhere(request)
        credential = await self.credential(request.url)
        request.headers.update(credential)
        response, url = await self._sent_somewhere(request)
        response.extensions[CREDENTIAL] = credential
        return response, url

    async def _sent_somewhere(self, request: httpx2.Request) -> tuple[httpx2.Response, httpx2.URL]:
        if request.url != self.address:
            return await self._endpoints.transport(request.url).handle_async_request(request), request.url

        async def attempt(url: httpx2.URL) -> tuple[httpx2.Response, int]:
            request.url = url
            request.headers["host"] = url.netloc.decode("ascii")
            response = await self._endpoints.transport(url).handle_async_request(request)
            return response, response.status_code

        # A stream is worth something only where the session is.
        return await self.first_to_answer(attempt, elsewhere=STREAM_REQUEST not in request.extensions)

    async def first_to_answer(
        self, attempt: Callable[[httpx2.URL], Awaitable[tuple[Sent, int]]], *, elsewhere: bool = True
    ) -> tuple[Sent, httpx2.URL]:
        """What `attempt` gives for a URL, with its HTTP status; and the URL.

        Args:
            elsewhere: whether what cannot be sent to one URL goes to another: nobody has seen it.

        Raises:
            httpx2.TransportError: nobody can be reached, or the one that was does not answer.
        """
        url, tried = self.url if self.session else self._endpoints.choose(), list[httpx2.URL]()
        while True:
            tried.append(url)
            try:
                sent, status = await attempt(url)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                self._endpoints.avoid(url)
                others = self._endpoints.others(tried)
                if not others or not elsewhere:
                    raise
                url = others[0]
            else:
                (self._endpoints.avoid if status in AWAY_STATUSES else self._endpoints.answered)(url)
                return sent, url

    @property
    def client(self) -> HttpClient:
        """What reaches the URLs that no proxy stands before."""
        return self._endpoints.client

    @property
    def urls(self) -> tuple[httpx2.URL, ...]:
        """Where requests may go."""
        return self._endpoints.urls

    def is_direct(self, url: httpx2.URL) -> bool:
        """Whether no proxy stands before a URL."""
        return self._endpoints.is_direct(url)

    def note_answer(self, url: httpx2.URL, session: str) -> None:
        """A request was served by this URL, in this session if it names one."""
        self.url = url
        self.complaint = ""
        if session and session != self.session:
            self.session, self.home = session, url

    def _note(self, response: httpx2.Response, url: httpx2.URL) -> None:
        session = response.headers.get(MCP_SESSION_ID)
        if response.status_code < 400:
            self.url = url
        if session and session != self.session:
            self.session, self.home = session, url

    async def _checked(self, response: httpx2.Response, number: RequestId | None) -> httpx2.Response:
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            return refusal(502, BAD_GATEWAY, "its answer is compressed, which was not asked for")
        if response.status_code >= 400:
            return explained(response, await beginning(response))
        stream: Any = response.stream
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            events = repairs.Events(stream, self._endpoints.max_bytes, number)
            return httpx2.Response(response.status_code, headers=response.headers, stream=events)
        if number is not None and self.keeps_stream and response.status_code < 300:
            return await repairs.answer(response, number, self._endpoints.max_bytes)
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=BoundedBody(stream, self._endpoints.max_bytes)
        )

    async def aclose(self) -> None:
        """The endpoints stay open: other connections use them."""


def client(failover: FailoverTransport, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client for one connection."""
    timeout = httpx2.Timeout(CONNECT_S, read=READ_S)
    plain = {**headers, "accept-encoding": "identity"}
    return httpx2.AsyncClient(transport=failover, headers=plain, timeout=timeout)


@asynccontextmanager
async def streamable(
    failover: FailoverTransport, http: httpx2.AsyncClient, max_bytes: int, *, leave: Callable[[], bool] = lambda: False
) -> AsyncIterator[tuple[Any, Any]]:
    """Streams over Streamable HTTP.

    Args:
        leave: asked at the end, whether to leave the upstream session to others.
    """
    opened: AbstractAsyncContextManager[tuple[Any, Any]] = streamable_http_client(
        str(failover.address), http_client=http, terminate_on_close=False, max_sse_event_size=max_bytes
    )
    async with opened as streams:
        try:
            yield streams
        finally:
            if failover.session and not leave():
                await ended(http, str(failover.address), failover.session)


async def ended(http: httpx2.AsyncClient, url: str, session: str) -> None:
    """End a session at a server. One that cannot be reached, or will not end it, forgets it in its own time."""
    try:
        async with http.stream("DELETE", url, headers={MCP_SESSION_ID: session}, timeout=DELETE_S):
            pass  # whatever it says to that, nobody reads it
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        log.info("backend.session_end_failed", error=str(error))


@asynccontextmanager
async def sse(what: Sse, failover: FailoverTransport) -> AsyncIterator[tuple[Any, Any]]:
    """Streams over HTTP+SSE."""

    def factory(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,  # noqa: ARG001 (the SDK's factory has it)
        auth: httpx2.Auth | None = None,  # noqa: ARG001
    ) -> httpx2.AsyncClient:
        return client(failover, headers or {})

    async with sse_client(what.url, headers=dict(what.headers), httpx_client_factory=factory) as (read, write):
        incoming, received = anyio.create_memory_object_stream[Any](0)
        failover.send_answer = incoming.send
        async with incoming, received, anyio.create_task_group() as tasks:
            tasks.start_soon(_handed_on, read, incoming)
            yield received, write
            tasks.cancel_scope.cancel()


async def _handed_on(read: Any, incoming: Any) -> None:
    async with incoming:
        async for item in read:
            await incoming.send(item)
