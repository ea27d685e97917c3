"""The GET stream of an upstream session: what a server says that belongs to no request.

The SDK has such a stream too, but only on the line that made the session, and gives it up after two attempts. This one
moves with its lease (`relay`), goes on after the last event that anybody heard, and is tried again for as long as the
line is there.

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
from switchboard.backends.transports.http import OURS, FailoverTransport
from switchboard.backends.transports.stream_relay import Message, Relay
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import error_data
from switchboard.state.pubsub import parsed

FIRST_S: Final = 0.5
LONGEST_S: Final = 4.0
"""Between attempts, unless the server names its own pause."""

PATIENT: Final = frozenset({409, 429})
"""Not now: another stream is still taken to be open, say."""

log = structlog.get_logger("switchboard.backends")


class NoSessionStream(Exception):
    """The server has no such stream."""


class SessionForgotten(Exception):
    """The server does not know the session any more."""


class SessionStream:
    """One line's part in it.

    Args:
        most: bytes of a message.
        inbound: who deals with what comes.
        tried: set once the server has opened the stream for the first time, or has not.
        late: whether to look once for what may have changed before the stream was there.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        carrier: FailoverTransport,
        version: str,
        most: int,
        relay: Relay,
        inbound: Inbound,
        tried: asyncio.Event,
        *,
        late: bool = False,
    ) -> None:
        self._http = http
        self._carrier = carrier
        self._most = most
        self._relay = relay
        self._inbound = inbound
        self._headers = {MCP_SESSION_ID: carrier.session or "", MCP_PROTOCOL_VERSION_HEADER: version}
        self._pause = FIRST_S
        self._was_open = False
        self._tried = tried
        self._late = late
        self._forgot = False
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, busy: Callable[[], bool]) -> None:
        """Listen whenever the stream is this worker's, until cancelled, or until the server forgot the session.

        Args:
            busy: whether a call is in flight on the line.
        """
        while not self._forgot:
            try:
                async with asyncio.TaskGroup() as self._tasks, self._relay.running(self._deal, busy):
                    await self._in_turn()
            except* StateUnavailable as errors:
                log.info("redis.away", error=str(first_error(errors)))
                await asyncio.sleep(FIRST_S)
            except* SessionForgotten:
                self._forgot = True

    async def _in_turn(self) -> None:
        while True:
            await self._relay.lead.begun()
            await first_of(self._relay.lead.ended(), self._keep_listening())

    async def _keep_listening(self) -> None:
        while True:
            try:
                async with self._opened() as events:
                    if self._late and not self._was_open:  # calls came before it: what they changed was told to nobody
                        await self._inbound.told("notifications/tools/list_changed", None)
                    self._was_open, self._pause = True, FIRST_S
                    self._tried.set()
                    await self._hear(events)
            except NoSessionStream:
                self._tried.set()
                await anyio.sleep_forever()  # with the lease: nobody else needs to ask
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                log.debug("backend.stream_broke", error=str(error))
            self._tried.set()
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_S)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[EventSource]:
        headers = {**self._headers, "accept": "text/event-stream"}
        if last := await self._relay.last():
            headers[LAST_EVENT_ID] = last
        request = self._http.build_request("GET", self._carrier.asked, headers=headers, extensions={OURS: True})
        response = await self._http.send(request, stream=True)
        following = response.next_request
        if following is not None and following.url.netloc == request.url.netloc:
            await response.aclose()
            response = await self._http.send(following, stream=True)
        try:
            self._judge(response)
            yield EventSource(response, max_event_size=self._most)
        finally:
            await response.aclose()

    def _judge(self, response: httpx2.Response) -> None:
        """Raises `SessionForgotten` or `NoSessionStream`, or an error that may pass, unless there is a stream."""
        status = response.status_code
        if status in (400, 404) and self._was_open:
            raise SessionForgotten
        if status >= 500 or status in PATIENT:
            raise httpx2.RemoteProtocolError(f"HTTP {status}")
        if status != 200 or not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise NoSessionStream

    async def _hear(self, events: EventSource) -> None:
        async for event in events:
            if event.retry is not None:
                self._pause = min(max(event.retry / 1000, FIRST_S), LONGEST_S)
            message = parsed(event.data, sendable=False) if event.event == "message" else None
            await self._relay.heard(event.id or None, message)

    # -- what came ------------------------------------------------------------------------------------------------

    async def _deal(self, message: Message) -> None:
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str) or not isinstance(params, dict | None) or self._tasks is None:
            return
        if "id" in message:
            self._tasks.create_task(self._answer(message["id"], method, params))
            return
        try:
            await self._inbound.told(method, params)
        except Exception as error:  # the boundary of one message: whom it was for may be gone
            log.info("backend.not_told", method=method, error=str(error) or type(error).__name__)

    async def _answer(self, number: Any, method: str, params: Message | None) -> None:
        try:
            outcome = {"result": await self._inbound.asked(method, params)}
        except MCPError as error:
            outcome = {"error": error_data(error)}
        except Exception as error:  # the boundary of one question: the server must hear of its end
            log.info("backend.unanswered", method=method, error=str(error) or type(error).__name__)
            outcome = {"error": {"code": INTERNAL_ERROR, "message": "The client cannot be asked now"}}
        body = {"jsonrpc": "2.0", "id": number, **outcome}
        headers = {**self._headers, "accept": "application/json, text/event-stream"}
        try:
            async with self._http.stream("POST", self._carrier.asked, json=body, headers=headers):
                pass  # nothing is expected in return, and nothing read
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            log.info("backend.answer_not_sent", error=str(error))
