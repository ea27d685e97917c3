"""The streams that clients hold open on this worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, event_to_notification

from switchboard.aio import background
from switchboard.errors import StateUnavailable
from switchboard.plugins import OpenStream
from switchboard.protocol.changes import LIST_CHANGES
from switchboard.protocol.resource_uris import equal
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.streams.listen import ListenStream
from switchboard.sessions.streams.revocation import Revocation
from switchboard.sessions.streams.standalone import StandaloneStream
from switchboard.sessions.streams.stream_list import Kind, StreamList
from switchboard.sessions.streams.stream_quota import StreamQuota
from switchboard.state import State

log = structlog.get_logger("switchboard.sessions")

CHUNK: Final = 256

Concerns = Callable[[str], bool]
"""Whether something concerns an owner."""


class OpenStreams:
    """Registers open streams, passes change notices to the handshake ones, and looks after idle ones.

    One task sweeps all idle handshake streams every few seconds in pipelined chunks: a timer and a round trip for
    each of thousands of streams would be most of what an idle worker does.
    """

    def __init__(self, state: State, bus: RedisBus, worker: str, ttl: float, max_streams: int = 20_000) -> None:
        self.revocation = Revocation()
        self.listed = StreamList(worker, state.clock)
        self._quota = StreamQuota(state, worker, max_streams)
        self._state = state
        self._bus = bus
        self._pause = min(state.timing.poll_s, ttl / 3)
        self._standalone: dict[StandaloneStream, str] = {}
        self._listening: dict[ListenStream, str] = {}
        """With whose they are."""
        self._notices: asyncio.Queue[tuple[ServerEvent, Concerns | None]] = asyncio.Queue()

    def __iter__(self) -> Iterator[OpenStream]:
        yield from list(self._standalone)
        yield from list(self._listening)

    def __len__(self) -> int:
        return len(self._standalone) + len(self._listening)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep and pass on notices until the context ends, then end every stream."""
        remove = self._bus.subscribe(lambda event: self._notices.put_nowait((event, None)))
        remove_too = self._bus.on_interruption(self._interrupted)
        async with background(self._sweep_for_ever(), self._pass_on(), self.revocation.run()):
            try:
                yield
            finally:
                remove()
                remove_too()
                self.end_all()

    @asynccontextmanager
    async def standalone(self, stream: StandaloneStream, owner: str, kind: Kind = "get") -> AsyncIterator[None]:
        """Count `stream` among the open ones of `owner`.

        Raises:
            TooMany: the owner has as many streams as one may have.
        """
        await self._quota.add(owner)
        self._standalone[stream] = owner
        self.revocation.add(stream, stream.still_valid, partial(stream.end, "revoked"))
        remove = self.listed.add(kind, "handshake", owner, stream.sid, stream.end)
        try:
            yield
        finally:
            remove()
            self.revocation.remove(stream)
            del self._standalone[stream]
            self._quota.remove(owner)

    @asynccontextmanager
    async def listening(self, stream: ListenStream, owner: str) -> AsyncIterator[None]:
        """Count `stream` among the open ones of `owner`.

        Raises:
            TooMany: as `standalone`.
        """
        await self._quota.add(owner)
        self._listening[stream] = owner
        self.revocation.add(stream, stream.still_valid, partial(stream.end, "revoked"))
        remove = self.listed.add("listen", "modern", owner, "", stream.end)
        try:
            yield
        finally:
            remove()
            self.revocation.remove(stream)
            del self._listening[stream]
            self._quota.remove(owner)

    def tell(self, concerns: Concerns, event: ServerEvent) -> None:
        """Tell the streams of some owners alone, on this worker, that something changed for them."""
        self._notices.put_nowait((event, concerns))
        for stream, owner in list(self._listening.items()):
            if concerns(owner):
                stream.deliver(event)

    def end_all(self) -> None:
        """End every stream; their clients open them again on another worker."""
        for standalone in list(self._standalone):
            standalone.end()
        for listening in list(self._listening):
            listening.end()

    def _interrupted(self) -> None:
        for change in LIST_CHANGES.values():
            self._notices.put_nowait((change.event, None))
        for stream in list(self._listening):
            stream.interrupted()

    async def _pass_on(self) -> None:
        """Listen streams hear the bus by themselves; standalone streams are stored, so that they can be replayed."""
        while True:
            event, concerns = await self._notices.get()
            notice = event_to_notification(event, {}).model_dump(by_alias=True, mode="json", exclude_none=True)
            params = {key: value for key, value in (notice.get("params") or {}).items() if key != "_meta"}
            for stream in [each for each, owner in self._standalone.items() if concerns is None or concerns(owner)]:
                forms: list[dict[str, str]] = [{}]
                if isinstance(event, ResourceUpdated):  # told under the form of the URI that the client used
                    forms = [{"uri": uri} for uri in equal(event.uri, stream.subscriptions)]
                for form in forms:
                    try:
                        await stream.notify(notice["method"], {**params, **form})
                    except StateUnavailable as error:
                        log.warning(error.event, error=str(error), lost=notice["method"])

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            streams = list(self._standalone)
            chunks = (streams[start : start + CHUNK] for start in range(0, len(streams), CHUNK))
            # What needs memory may be refused while what keeps sessions alive is not.
            await self._tried(self._quota.tell())
            for chunk in chunks:
                await self._tried(self._sweep(chunk))

    async def _tried(self, work: Awaitable[None]) -> None:
        try:
            await work
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))

    async def _sweep(self, streams: list[StandaloneStream]) -> None:
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                counts = [stream.probe(pipe) for stream in streams]
                answers = await pipe.execute()
        for stream, count in zip(streams, counts, strict=True):
            stream.probed(answers[:count])
            del answers[:count]
