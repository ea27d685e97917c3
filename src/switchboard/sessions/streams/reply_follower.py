"""Resuming the reply to a POST, on whichever worker; and ending it, once its own worker was lost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog
from mcp_types import INTERNAL_ERROR

from switchboard.aio import SmallEvent
from switchboard.errors import SessionGone, StateUnavailable
from switchboard.sessions.streams.frames import NO_MESSAGE, OPENED, Frame, encode, frames
from switchboard.sessions.streams.stored_stream import StoredStream, follow, server_sent
from switchboard.state import Scripts, State

log = structlog.get_logger("switchboard.sessions")


class ReplyFollower:
    """Replays the reply to a POST after `Last-Event-ID`, and follows it while another worker still writes it."""

    def __init__(self, state: State, sid: str, name: str, last: str, ttl_ms: int) -> None:
        self.over = False
        self.pause = min(state.timing.poll_s, ttl_ms / 3000)
        """Seconds without a wake-up after which the writer's lease is looked at."""
        self._state = state
        self.sid = sid
        self._ttl_ms = ttl_ms
        self._stored = StoredStream(state, sid, name, last)

    @property
    def wake(self) -> SmallEvent:
        """Set when there may be something to read, or the stream is over."""
        return self._stored.wake

    def end(self) -> None:
        """Follow no longer; whoever may can follow again."""
        self.over = True
        self.wake.set()

    async def known(self) -> bool:
        """Whether this session ever had such a stream, and all that follows `last` is still there.

        A reply that ended without a response has nothing left to say: a client would ask for the rest for ever.
        """
        newest, last = await self._stored.newest(), self._stored.last
        if not newest or await self._stored.has_dropped():
            return False
        if not any(frame.final and frame.data == NO_MESSAGE for frame in frames(newest)):
            return True
        rest = await self._stored.read()
        self._stored.seek(last)
        return any(frame.data != NO_MESSAGE for frame in rest)

    def events(self) -> AsyncGenerator[bytes]:
        """The rest of the stream as server-sent events; ends after the last response, never hangs."""
        return server_sent(OPENED, self._stored.name, self.frames())

    async def frames(self) -> AsyncGenerator[Frame | None]:
        """The rest of the stream; `None` when a comment is due."""
        woken = self._state.pubsub.subscribed(self._stored.channel, lambda _payload: self.wake.set())
        async with woken, aclosing(follow(self)) as following:
            async for frame in following:
                yield frame

    async def read(self) -> list[Frame]:
        """What was stored since; nothing while Redis is away."""
        try:
            found = await self._stored.read()
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
            return []
        self.over = self.over or self._stored.gap or any(frame.final for frame in found)
        return [frame for frame in found if frame.data != NO_MESSAGE]

    async def idle(self) -> list[Frame]:
        """Keep the session, and look whether the writer lives.

        Raises:
            SessionGone: the session ended.
        """
        try:
            await self._look_after()
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
        return await self.read()

    async def _look_after(self) -> None:
        """Keep the session alive while somebody follows; end the exchange of a worker that is gone.

        A lease that lapsed while Redis was away says nothing: its holder is given the time to renew it.

        Raises:
            SessionGone: the session ended.
        """
        session, lease = self._keys()
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.pexpire(session, self._ttl_ms)
                pipe.exists(lease)
                alive, leased = await pipe.execute()
        if not alive:
            raise SessionGone(self.sid)
        if not leased and self._state.contact.settled:
            await self._end_orphaned_reply()

    async def _end_orphaned_reply(self) -> None:
        """Answer with an error what its lost worker did not answer."""
        answers = [encode(_lost(request)) for request in await self._unanswered()]
        if not answers:
            return
        session, lease = self._keys()
        with self._state.guard():
            written = Scripts.written(
                await self._state.scripts.end_orphan(
                    keys=[session, self._stored.key, lease], args=[self._stored.channel, *answers]
                )
            )
        if written.verdict == "ok":
            log.warning("exchange.worker_lost", session=self.sid[:8], stream=self._stored.name)

    async def _unanswered(self) -> list[Any]:
        """The ids of the requests this stream owes a response: its last frame says so, else its opening entry."""
        newest = await self._stored.newest()
        if newest and newest[0][1].get("p"):
            return list(json.loads(newest[0][1]["p"]))
        requests: list[Any] = []
        for _, fields in await self._stored.entries():
            if "o" in fields:
                requests = json.loads(fields["o"])
            elif fields["f"] != NO_MESSAGE:
                message = json.loads(fields["f"])
                if "method" not in message and message.get("id") in requests:
                    requests.remove(message["id"])
        return requests

    def _keys(self) -> tuple[str, str]:
        """Of the session, and of the lease of whoever writes the reply."""
        keys = self._state.keys
        return keys.session(self.sid), keys.exchange(self.sid, self._stored.name)


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
