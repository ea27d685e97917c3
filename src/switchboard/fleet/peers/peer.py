"""A worker's end: its one channel, what it calls, and what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

from mcp.shared.exceptions import MCPError

from switchboard.aio import task_group
from switchboard.errors import StateUnavailable
from switchboard.fleet import heartbeat
from switchboard.fleet.peers.channel import NO_CLIENT, CallTiming, Channel, Handler, Params, PeerLost
from switchboard.fleet.peers.client import Call
from switchboard.fleet.peers.frames import FROM_CALLER, PROTOCOL, Frame
from switchboard.fleet.peers.link import Link, log
from switchboard.fleet.peers.server import MAX_CALLS, Server
from switchboard.state import State

GRACE_S: Final = 5.0
"""What calls in flight get when a method is served no longer."""

LEAVING_S: Final = 1.0
"""What cancellations get to arrive when this worker leaves."""


class Peers:
    """The other workers, as this one calls them and is called by them.

    Args:
        worker: this worker's id, by which others call it; a process that only calls gives one of its own.
        alive: whether the worker of an id still is; by its heartbeat, if nothing else is said.
        protocol: the version of the frames; workers hear those of their own version only.
    """

    def __init__(
        self,
        state: State,
        worker: str,
        *,
        alive: Callable[[str], Awaitable[bool]] | None = None,
        timing: CallTiming | None = None,
        protocol: int = PROTOCOL,
    ) -> None:
        self.worker = worker
        self._link = Link(
            state, worker, alive or partial(heartbeat.alive, state), timing or CallTiming.of(state.timing), protocol
        )
        self._server = Server(self._link)
        self._calls: dict[str, Call] = {}
        self._withdrawing: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Peers]:
        """Be reachable until the context ends.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        pubsub, channel = self._link.state.pubsub, self._link.channel(self.worker)
        async with pubsub.subscribed(channel, self._hear), task_group() as self._tasks:
            looking = self._tasks.create_task(self._server.keep_looking())
            try:
                yield self
            finally:
                if self._withdrawing:
                    await asyncio.wait(self._withdrawing, timeout=LEAVING_S)
                self._tasks = None
                self._server.close()
                for task in (looking, *self._withdrawing):
                    task.cancel()

    def serving(self, method: str, handler: Handler, *, grace: float = GRACE_S) -> AbstractAsyncContextManager[None]:
        """Serve a method until the context ends; then finish what was begun, for `grace` seconds, and take no more."""
        return self._server.serving(method, handler, grace)

    async def call(
        self,
        worker: str,
        method: str,
        params: Params,
        channel: Channel = NO_CLIENT,
        *,
        once: bool = True,
        listens: bool = False,
    ) -> Any:
        """Have another worker do something, and wait for what comes of it; leaving early cancels it there.

        Args:
            channel: who gets notifications and progress, and answers questions.
            once: whether it must not begin twice, also when this worker cannot know whether it began. Such a call waits
                longer while Redis is away; another one is given up earlier, since it may simply be made again.
            listens: whether to give up at once where nobody listens, instead of waiting until somebody does.

        Raises:
            MCPError: what the handler raised.
            PeerLost: there is no answer; says whether anything may have been done.
            StateUnavailable: a call that is made once could not be sent, as Redis cannot be reached.
        """
        if self._tasks is None or len(self._calls) >= MAX_CALLS:
            why = "this worker is not running" if self._tasks is None else "this worker makes too many calls to others"
            raise PeerLost(why, begun=False)
        call = Call(self._link, worker, channel, once=once)
        self._calls[call.call] = call
        try:
            return await call.outcome(method, params, listens=listens)
        finally:
            self._leave(call)

    async def broadcast(self, called: Iterable[str], method: str, params: Params, seconds: float) -> dict[str, Any]:
        """What those of several workers answered that did so in time, by worker."""
        answers: dict[str, Any] = {}

        async def one(worker: str) -> None:
            try:
                async with asyncio.timeout(seconds):
                    answers[worker] = await self.call(worker, method, params)
            except (TimeoutError, PeerLost, MCPError, StateUnavailable) as error:
                log.info("peer.unanswered", worker=worker, method=method, reason=str(error) or "no answer in time")

        await asyncio.gather(*(one(worker) for worker in called))
        return answers

    def _leave(self, call: Call) -> None:
        if call.over or self._tasks is None:
            self._calls.pop(call.call, None)
            return
        task = self._tasks.create_task(call.withdraw())
        self._withdrawing.add(task)

        def done(_: object) -> None:
            self._withdrawing.discard(task)
            self._calls.pop(call.call, None)

        task.add_done_callback(done)

    def _hear(self, payload: str) -> None:
        if not payload:  # something may have been missed: callers repeat themselves, here and elsewhere
            for call in self._calls.values():
                call.renewed()
            return
        frame = Frame.read(payload)
        if frame is None:
            log.warning("peer.frame_not_understood", length=len(payload))  # of nobody of this version
        elif frame.kind in FROM_CALLER:
            if self._tasks is not None:
                self._server.hear(frame, self._tasks)
        elif frame.call in self._calls:
            self._calls[frame.call].hear(frame)
