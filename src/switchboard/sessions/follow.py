"""Following a stored stream: the stored copy decides, a wake-up only says when to look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import structlog
from mcp_types import INTERNAL_ERROR

from switchboard.errors import SessionGone, StateUnavailable
from switchboard.sessions.frames import KEEPALIVE, NO_MESSAGE, OPENED, Frame, Look, Sign, encode, event, frames, order
from switchboard.state import Scripts, State

log = structlog.get_logger("switchboard.sessions")

BATCH: Final = 200
START: Final = "0-0"
"""Before the first entry of any stream."""


async def read(state: State, sid: str, stream: str, last: str) -> list[Frame]:
    """The frames stored after `last`, at most BATCH of them."""
    with state.guard():
        entries: Any = await state.redis.xrange(state.keys.events(sid, stream), min=f"({last}", count=BATCH)
    return frames(entries)


async def missed(state: State, sid: str, stream: str, last: str) -> bool:
    """Whether frames after `last` may have been dropped already, so that replaying would leave a silent gap."""
    if last == START:
        return False
    with state.guard():
        first: Any = await state.redis.xrange(state.keys.events(sid, stream), count=1)
    return bool(first) and order(first[0][0]) > order(last)


class ReplyFollower:
    """Replays the reply to a POST after `Last-Event-ID`, and follows it while another worker still writes it."""

    def __init__(self, state: State, sid: str, stream: str, last: str, ttl_ms: int) -> None:
        self._state = state
        self._sid = sid
        self._stream = stream
        self._last = last
        self._total: int | None = 0 if last == START else None
        self._pause = min(state.timing.poll_s, ttl_ms / 3000)
        self._ttl_ms = ttl_ms
        self._wake = asyncio.Event()
        self._over = False

    def end(self) -> None:
        """Follow no longer; whoever may can follow again."""
        self._over = True
        self._wake.set()

    async def known(self) -> bool:
        """Whether this session ever had such a stream, and all that follows `last` is still there.

        A reply that ended without a response has nothing left to say: a client would ask for the rest for ever.
        """
        with self._state.guard():
            key = self._state.keys.events(self._sid, self._stream)
            newest: Any = await self._state.redis.xrevrange(key, count=1)
        if not newest or await missed(self._state, self._sid, self._stream, self._last):
            return False
        return not _cancelled(newest) or any(
            frame.data != NO_MESSAGE for frame in await read(self._state, self._sid, self._stream, self._last)
        )

    async def events(self) -> AsyncGenerator[bytes]:
        """The rest of the stream as server-sent events; ends after the last response, never hangs."""
        yield OPENED
        async with aclosing(self.frames()) as following:
            async for frame in following:
                yield event(self._stream, frame) if frame is not None else KEEPALIVE

    async def frames(self) -> AsyncGenerator[Frame | None]:
        """The rest of the stream; `None` when it has been quiet for a while."""
        channel = self._state.keys.to_client(self._sid, self._stream)
        async with self._state.hub.subscribed(channel, self._woken), aclosing(self._follow()) as following:
            async for frame in following:
                yield frame

    def _woken(self, _payload: str) -> None:
        self._wake.set()

    async def _follow(self) -> AsyncGenerator[Frame | None]:
        sign = Sign()
        while not self._over:
            self._wake.clear()
            look = Look(self._news(), sign)
            async with aclosing(look.silences()) as silences:
                async for silence in silences:
                    yield silence
            for frame in look.found:
                if not frame.follows(self._total):
                    log.warning("stream.gap", session=self._sid[:8], stream=self._stream)
                    return
                self._last, self._total = frame.id, frame.total
                if frame.data != NO_MESSAGE:
                    yield frame
                    sign.given()
                if frame.final:
                    return
            if await self._waited():
                continue
            tending = Look(self._tended(), sign)
            async with aclosing(tending.silences()) as silences:
                async for silence in silences:
                    yield silence
            tending.found  # noqa: B018  raises when the session has ended
            if sign.due:
                yield None
                sign.given()

    async def _waited(self) -> bool:
        try:
            async with asyncio.timeout(self._pause):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _news(self) -> list[Frame]:
        try:
            return await read(self._state, self._sid, self._stream, self._last)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
            return []

    async def _tended(self) -> None:
        try:
            await self._look_after()
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))

    async def _look_after(self) -> None:
        """Keep the session alive while somebody follows; end the exchange of a worker that is gone.

        A lease that lapsed while Redis was away says nothing: its holder is given the time to renew it.

        Raises:
            SessionGone: the session ended.
        """
        keys = self._state.keys
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.pexpire(keys.session(self._sid), self._ttl_ms)
                pipe.exists(keys.exchange(self._sid, self._stream))
                alive, leased = await pipe.execute()
        if not alive:
            raise SessionGone(self._sid)
        if not leased and self._state.contact.settled:
            await self._end_orphan()

    async def _end_orphan(self) -> None:
        keys = self._state.keys
        endings = [encode(_lost(request)) for request in await self._unanswered()]
        if not endings:
            return
        with self._state.guard():
            written = Scripts.written(
                await self._state.scripts.end_orphan(
                    keys=[
                        keys.session(self._sid),
                        keys.events(self._sid, self._stream),
                        keys.exchange(self._sid, self._stream),
                    ],
                    args=[keys.to_client(self._sid, self._stream), *endings],
                )
            )
        if written.verdict == "ok":
            log.warning("exchange.worker_lost", session=self._sid[:8], stream=self._stream)

    async def _unanswered(self) -> list[Any]:
        """The ids of the requests this stream owes a response: its last frame says so, else its opening entry."""
        key = self._state.keys.events(self._sid, self._stream)
        with self._state.guard():
            newest: Any = await self._state.redis.xrevrange(key, count=1)
            if newest and newest[0][1].get("p"):
                return list(json.loads(newest[0][1]["p"]))
            entries: Any = await self._state.redis.xrange(key)
        requests: list[Any] = []
        for _, fields in entries:
            if "o" in fields:
                requests = json.loads(fields["o"])
                continue
            if fields["f"] == NO_MESSAGE:
                continue
            message = json.loads(fields["f"])
            if "method" not in message and message.get("id") in requests:
                requests.remove(message["id"])
        return requests


def _cancelled(newest: list[tuple[str, dict[str, str]]]) -> bool:
    return any(frame.final and frame.data == NO_MESSAGE for frame in frames(newest))


def _lost(request: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": request,
        "error": {
            "code": INTERNAL_ERROR,
            "message": "The worker that served this request was lost before it answered. The request may have taken "
            "effect; repeat it only if that is harmless.",
            "data": {"reason": "worker_lost", "retry": "if_idempotent"},
        },
    }
