"""The standalone stream of a handshake session: notifications and questions that belong to no request.

Anything may be appended from any worker; the worker that holds the client's GET follows the stored stream. The newest
GET wins: it writes its token into the record, and the older follower leaves when it sees another one there.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, cast

import structlog
from mcp_types import LoggingLevel
from redis.asyncio.client import Pipeline

from switchboard.aio import SmallEvent
from switchboard.errors import SessionGone, StateUnavailable
from switchboard.sessions.patience import patiently
from switchboard.sessions.records import Record, Records, wanted
from switchboard.sessions.streams.frames import Frame, encode, opening
from switchboard.sessions.streams.stored_stream import StoredStream, follow, server_sent
from switchboard.state import State
from switchboard.state.keys import MAX_FRAMES, STANDALONE

KEPT_TIMES: Final = 6
"""How often an open stream renews its session within one life of it; most of that may fail."""

AWAY_S: Final = 1.0
"""How long a stream leaves Redis alone when it is away."""

Ending = Literal["over", "leaving", "revoked"]
"""Why a stream ended: with its session or by a newer GET, because the worker leaves, or with its token."""

log = structlog.get_logger("switchboard.sessions")


class StandaloneWriter:
    """Appends to one session's standalone stream, from any worker."""

    def __init__(self, state: State, sid: str, level: LoggingLevel | None) -> None:
        self._state = state
        self._sid = sid
        self._level = level

    async def send(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Store a notification for the standalone stream; dropped when the session has ended."""
        if wanted(self._level, method, params):
            await append(self._state, self._sid, _notification(method, params))

    async def say(self, method: str, params: Mapping[str, Any] | None) -> None:
        """As `send`, for a handler: waits while Redis is away."""
        if wanted(self._level, method, params):
            message, mark = _notification(method, params), secrets.token_hex(6)
            await patiently(self._state, lambda: append(self._state, self._sid, message, mark))


def _notification(method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": dict(params)}


async def append(state: State, sid: str, message: dict[str, Any], mark: str = "") -> bool:
    """Store one message on the session's standalone stream and wake its follower; `False` if the session has ended.

    Repeated with its `mark`, it is not stored twice.
    """
    keys = state.keys
    with state.guard():
        stored = await state.scripts.append(
            keys=[keys.session(sid), keys.events(sid, STANDALONE)],
            args=[keys.to_client(sid, STANDALONE), MAX_FRAMES, encode(message), mark or secrets.token_hex(6)],
        )
    return bool(stored)


class StandaloneStream:
    """A client's GET, held open on this worker. Satisfies `switchboard.plugins.OpenStream`."""

    era: Literal["handshake"] = "handshake"

    def __init__(
        self,
        state: State,
        records: Records,
        record: Record,
        expires_at: float | None,
        still_valid: Callable[[], Awaitable[bool]] | None = None,
        worker: str = "",
    ) -> None:
        self.still_valid = still_valid
        self.sid = record.sid
        self.log_level: LoggingLevel | None = record.level
        self.subscriptions: frozenset[str] = frozenset()
        self.over = False
        self.ending: Ending = "over"
        self._state = state
        self._records = records
        self._record = record
        self._expires_at = expires_at
        self._token = f"{worker}:{secrets.token_hex(8)}"
        self._stored = StoredStream(state, record.sid, STANDALONE)
        self._pending = record.pending
        self._stale = True
        self._keep_at = 0.0

    @property
    def channel(self) -> str:
        """Where this stream is woken."""
        return self._stored.channel

    @property
    def wake(self) -> SmallEvent:
        """Set when there may be something to read, or the stream is over."""
        return self._stored.wake

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Store a notification on this stream; a client hears nothing before the answer to its `initialize`."""
        if not self.over and not self._pending:
            await StandaloneWriter(self._state, self.sid, self.log_level).send(method, params)

    def on_message(self, payload: str) -> None:
        """Wake up; what happened is read from the stored copy."""
        if payload != "1":  # subscriptions or log level changed, or the connection was renewed
            self._stale = True
        self.wake.set()

    def end(self, ending: Ending = "leaving") -> None:
        """End the stream; the client may open it again, here or elsewhere."""
        self.over = True
        self.ending = ending
        self.wake.set()

    async def attach(self, since: str | None) -> None:
        """Become the session's one holder, from `since` on (a Redis id), or from the end of the stream.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        keys = self._state.keys
        with self._state.guard():
            started: Any = await self._state.scripts.attach(
                keys=[keys.session(self.sid), keys.events(self.sid, STANDALONE)], args=[self._token, self.channel]
            )
        if not started:
            raise SessionGone(self.sid)
        self._stored.seek(since or cast(str, started[0]))
        self._resumed = since is not None
        await self._still_ours()  # what the client subscribed to counts from the first byte of its stream on

    async def detach(self) -> None:
        """Note that the stream is open nowhere, unless another worker holds it by now."""
        self.over = True
        try:
            with self._state.guard():
                await self._state.scripts.detach(keys=[self._state.keys.session(self.sid)], args=[self._token])
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))

    def events(self) -> AsyncGenerator[bytes]:
        """The stream as server-sent events; ends with the session, the token, a newer GET, or a gap."""
        first = opening(STANDALONE, self._stored.last, self._record.protocol_version)
        return server_sent(first, STANDALONE, follow(self))

    @property
    def pause(self) -> float:
        """Seconds until the token expires."""
        return math.inf if self._expires_at is None else max(self._expires_at - self._state.clock(), 0)

    async def read(self) -> list[Frame]:
        """What was stored since; nothing while Redis is away, for the stream outlives that."""
        try:
            if not await self._still_ours() or await self._has_gap():
                return []
            found = await self._stored.read()
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
            await asyncio.sleep(AWAY_S)
            self.wake.set()
            return []
        self.over = self.over or self._stored.gap
        return found

    async def idle(self) -> list[Frame]:
        """End with the token. The sweep looks for what is new; here it would cost two round trips."""
        if not self.pause:
            self.end("revoked")
        return []

    async def _has_gap(self) -> bool:
        """Whether what a client wants to resume from is gone by now; looked at once."""
        if self._resumed and await self._stored.has_dropped():
            self._stored.report_gap()
            self.over = True
        self._resumed = False
        return self.over

    async def _still_ours(self) -> bool:
        with self._state.guard():
            stored: Any = await self._state.redis.hmget(
                self._state.keys.session(self.sid), ["standalone", "level", "pending"]
            )
        if stored[0] != self._token:
            self.over = True
            return False
        self.log_level, self._pending = stored[1], bool(stored[2])
        if self._stale:
            self._stale = False
            self.subscriptions = await self._records.subscriptions(self.sid)
        return True

    # -- the sweep: one task looks after all idle streams of a worker ----------------------------------------------

    def probe(self, pipe: Pipeline) -> int:
        """Queue what tells whether something was missed, and what keeps the session alive; returns how many."""
        keys = self._state.keys
        pipe.xrange(keys.events(self.sid, STANDALONE), min=f"({self._stored.last}", count=1)
        pipe.hget(keys.session(self.sid), "standalone")
        if time.monotonic() < self._keep_at:
            return 2
        self._keep_at = time.monotonic() + self._records.ttl_ms / 1000 / KEPT_TIMES
        self._records.keep(pipe, self.sid)
        return 5

    def probed(self, answers: list[Any]) -> None:
        """Read the answers to `probe`."""
        if answers[0] or answers[1] != self._token:
            self.wake.set()


def holder_of(token: str) -> str:
    """The worker that holds the stream of this token; empty where an older version wrote it."""
    return token.rpartition(":")[0]
