"""A worker's way to the channels of the others, and one end of a call on it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from switchboard.errors import StateUnavailable
from switchboard.fleet.peers.channel import CallTiming
from switchboard.fleet.peers.frames import PROTOCOL, Frame, Inbox, Outbox, Packed, packed_body
from switchboard.state import State
from switchboard.state.keys import PEER_CALL_MS

GIVEN_UP: Final = "given up"
"""What stands in Redis for a call that its caller gave up before it began."""

log = structlog.get_logger("switchboard.fleet")


class Link:
    """What the ends of all calls of one worker share.

    Args:
        worker: this worker's id.
        alive: whether the worker of an id still is.
    """

    def __init__(
        self,
        state: State,
        worker: str,
        alive: Callable[[str], Awaitable[bool]],
        timing: CallTiming,
        protocol: int = PROTOCOL,
    ) -> None:
        self.state = state
        self.worker = worker
        self.timing = timing
        self.life = secrets.token_hex(8)
        """Tells this process from an earlier one of the same id."""
        self._alive = alive
        self._protocol = protocol

    def channel(self, worker: str) -> str:
        """Where a worker is called and answered."""
        return self.state.keys.peer(self._protocol, worker)

    def silence(self, heard: float) -> float:
        """For how long the other end could have been heard, and was not."""
        return self.state.contact.silence(heard)

    async def dead(self, worker: str) -> bool:
        """Whether a worker is known to have ended; not while Redis cannot be asked."""
        try:
            return not await self._alive(worker)
        except StateUnavailable:
            return False

    async def decide(self, call: str, mark: str) -> str:
        """What becomes of a call that is made once: the mark of whoever decided first.

        Raises:
            StateUnavailable: it cannot be known now.
        """
        key, lookups = self.state.keys.peer_call(call), self.state.lookups
        if await lookups.ask("SET", key, mark, "NX", "PX", PEER_CALL_MS):
            return mark
        return str(await lookups.ask("GET", key) or "")


class End:
    """One end of one call: what it says in order, what it heard in order, and when it last heard anything."""

    def __init__(self, link: Link, peer: str, call: str) -> None:
        self.link = link
        self.peer = peer
        self.call = call
        self.outbox = Outbox()
        self.inbox = Inbox()
        self.heard = time.monotonic()
        self.reached = False
        """Whether anybody was subscribed to the other worker's channel when something was sent."""
        self._sending = asyncio.Lock()

    def take(self, frame: Frame) -> None:
        """Note what came."""
        self.heard = time.monotonic()
        self.outbox.seen(frame.seen)
        if frame.number:
            self.inbox.put(frame)

    def unheard(self) -> float:
        """For how many seconds nothing came, whether or not Redis answered."""
        return time.monotonic() - self.heard

    async def flush(self, *, again: bool = False) -> StateUnavailable | None:
        """Send what waits, in its order. When Redis is away, gives why; what waits is sent with the next repeat.

        Args:
            again: whether the other end is to answer to the last of it.
        """
        async with self._sending:
            while (frame := self.outbox.unsent()) is not None:
                if (error := await self._publish(frame, again=again and not self.outbox.waits)) is not None:
                    return error
        return None

    async def repeat(self, otherwise: str, *, again: bool = False) -> None:
        """Send again what the other end has not seen, or, if it has seen everything, a frame of that kind."""
        if self._sending.locked():
            return  # it is being sent
        self.outbox.rewind()
        if self.outbox.waits:
            await self.flush(again=again)
        else:
            await self.say(otherwise, again=again)

    async def say(self, kind: str, *, again: bool = False, **body: Any) -> None:
        """Send a frame that has no place in the order, and is not kept."""
        await self._publish(Packed(0, kind, packed_body(body)), again=again)

    async def _publish(self, frame: Packed, *, again: bool) -> StateUnavailable | None:
        payload = frame.text(self.call, self.link.worker, self.inbox.seen, again=again)
        try:
            reached = await self.link.state.pubsub.publish(self.link.channel(self.peer), payload)
        except StateUnavailable as error:
            log.info("peer.frame_unsent", kind=frame.kind, to=self.peer, error=str(error))
            return error
        self.reached = self.reached or reached > 0
        return None
