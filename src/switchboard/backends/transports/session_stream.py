"""The GET stream of a backend's session: messages of the server that belong to no request.

The SDK has such a stream too, but only on the connection that made the session, and gives it up after two attempts.
This one moves between workers with its lease (`stream_relay`), goes on after the last event that any worker received,
and is tried again for as long as the connection is open.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#listening-for-messages-from-the-server
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import structlog
from httpx2 import EventSource
from mcp.client.streamable_http import LAST_EVENT_ID, MCP_SESSION_ID
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import INTERNAL_ERROR

from switchboard.aio import first_error, first_of
from switchboard.backends.connections.protocol import Inbound
from switchboard.backends.transports.http import STREAM_REQUEST, FailoverTransport
from switchboard.backends.transports.stream_relay import Message, Relay
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import error_data
from switchboard.state.pubsub import parsed

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 4.0
"""Between attempts, unless the server names its own pause."""

RETRY_STATUSES: Final = frozenset({409, 429})
"""Not now: another stream is still taken to be open, say."""

log = structlog.get_logger("switchboard.backends")


class NoSessionStream(Exception):
    """The server has no such stream."""


class SessionForgotten(Exception):
    """The server does not know the session any more."""


class SessionStream:
    """Reads the stream for one connection, while this worker has its lease.

    Args:
        max_bytes: bytes of a message.
        inbound: who deals with what comes.
        tried: set once the server has opened the stream for the first time, or has not.
        late: whether to look once for what may have changed before the stream was there.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        failover: FailoverTransport,
        version: str,
        max_bytes: int,
        relay: Relay,
        inbound: Inbound,
        tried: asyncio.Event,
        *,
        late: bool = False,
    ) -> None:
        self._http = http
        self._failover = failover
        self._max_bytes = max_bytes
        self._relay = relay
        self._inbound = inbound
        self._headers = {MCP_SESSION_ID: failover.session or "", MCP_PROTOCOL_VERSION_HEADER: version}
        self._pause = FIRST_PAUSE_S
        self._was_open = False
        self._tried = tried
        self._late = late
        self._forgotten = False
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, busy: Callable[[], bool]) -> None:
        """Listen whenever the stream is this worker's, until cancelled, or until the server forgot the session.

        Args:
            busy: whether a call is in flight on the connection.
        """
        while not self._forgotten:
            try:
                async with asyncio.TaskGroup() as self._tasks, self._relay.running(self._handle, busy):
                    await self._in_turn()
            except* StateUnavailable as errors:
                log.info("redis.away", error=str(first_error(errors)))
                await asyncio.sleep(FIRST_PAUSE_S)
            except* SessionForgotten:
                self._forgotten = True

    async def _in_turn(self) -> None:
        while True:
            await self._relay.leader.begun()
            await first_of(self._relay.leader.ended(), self._keep_listening())

    async def _keep_listening(self) -> None:
        while True:
            try:
                async with self._open() as events:
                    if self._late and not self._was_open:  # calls came before it: what they changed was told to nobody
                        await self._inbound.on_notification("notifications/tools/list_changed", None)
                    self._was_open, self._pause = True, FIRST_PAUSE_S
                    self._tried.set()
                    await self._read(events)
            except NoSessionStream:
                self._tried.set()
                await anyio.sleep_forever()  # with the lease: nobody else needs to ask
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                log.debug("backend.stream_broken", error=str(error))
            self._tried.set()
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[EventSource]:
        headers = {**self._headers, "accept": "text/event-stream"}
        if last_event := await self._relay.last_event():
            headers[LAST_EVENT_ID] = last_event
        request = self._http.build_request(
            "GET", self._failover.address, headers=headers, extensions={STREAM_REQUEST: True}
        )
        response = await self._http.send(request, stream=True)
        following = response.next_request
        if following is not None and following.url.netloc == request.url.netloc:
            await response.aclose()
            response = await self._http.send(following, stream=True)
        try:
            self._judge(response)
            yield EventSource(response, max_event_size=self._max_bytes)
        finally:
            await response.aclose()

    def _judge(self, response: httpx2.Response) -> None:
        """Raises `SessionForgotten` or `NoSessionStream`, or an error that may pass, unless there is a stream."""
        status = response.status_code
        if status in (400, 404) and self._was_open:
            raise SessionForgotten
        if status >= 500 or status in RETRY_STATUSES:
            raise httpx2.RemoteProtocolError(f"HTTP {status}")
        if status != 200 or not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise NoSessionStream

    async def _read(self, events: EventSource) -> None:
        async for event in events:
            if event.retry is not None:
                self._pause = min(max(event.retry / 1000, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            message = parsed(event.data, sendable=False) if event.event == "message" else None
            await self._relay.publish(event.id or None, message)

    # -- what came ------------------------------------------------------------------------------------------------

    async def _handle(self, message: Message) -> None:
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str) or not isinstance(params, dict | None) or self._tasks is None:
            return
        if "id" in message:
            self._tasks.create_task(self._answer(message["id"], method, params))
            return
        try:
            await self._inbound.on_notification(method, params)
        except Exception as error:  # the boundary of one message: whom it was for may be gone
            log.info("backend.notification_failed", method=method, error=str(error) or type(error).__name__)

    async def _answer(self, number: Any, method: str, params: Message | None) -> None:
        try:
            outcome = {"result": await self._inbound.on_request(method, params)}
        except MCPError as error:
            outcome = {"error": error_data(error)}
        except Exception as error:  # the boundary of one question: the server must hear of its end
            log.info("backend.request_refused", method=method, error=str(error) or type(error).__name__)
            outcome = {"error": {"code": INTERNAL_ERROR, "message": "The client cannot be asked now"}}
        body = {"jsonrpc": "2.0", "id": number, **outcome}
        headers = {**self._headers, "accept": "application/json, text/event-stream"}
        try:
            async with self._http.stream("POST", self._failover.address, json=body, headers=headers):
                pass  # nothing is expected in return, and nothing read
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            log.info("backend.answer_failed", error=str(error))
