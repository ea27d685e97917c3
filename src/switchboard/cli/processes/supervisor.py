"""The parent of several workers: binds the port once, keeps N processes alive, and takes them down gently.

All accept from the one listener, so a connection goes to whichever worker is idle first: of 64 and of 256 connections
at once each of two workers had 44 to 56 %, and under load both used the same CPU time. A listener for each
(SO_REUSEPORT) would deal by a hash, to a busy worker and to an idle one alike, and what waits at one is reset when its
worker dies.

The first worker starts alone: a wrong setting then says so once, and ends the command. A worker that dies is started
again, at once the first time and ever later while it keeps dying.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from switchboard.aio import first_of, wait_for_event
from switchboard.cli.exit_codes import STOPPING, WRONG_SETTING, say
from switchboard.cli.processes.graceful_shutdown import lock
from switchboard.cli.processes.sockets import bind
from switchboard.common.process import bare, hand_over
from switchboard.settings import Settings

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_HEALTHY_AFTER = 30.0
"""Seconds of service after which a worker's earlier deaths are forgotten."""

_MARGIN = 5.0
"""Seconds a worker has beyond DRAIN_TIMEOUT to close what it has open, before it is killed."""


@dataclass
class _Fleet:
    sockets: Sequence[socket.socket]
    patience: float
    grace: float
    """Seconds from the first signal to the moment in which the workers let nobody in any more."""

    parent_reads: int
    """The read end of a pipe that nobody writes to: it ends with this process."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    children: set[asyncio.subprocess.Process] = field(default_factory=set)
    code: int = 0

    def stop(self, asked: signal.Signals = signal.SIGTERM) -> None:
        """Once: let the workers drain; after Ctrl-C without the grace for a balancer. Again: end them now."""
        number = signal.SIGKILL if self.stopping.is_set() else asked
        if not self.stopping.is_set():
            if asked is signal.SIGINT:
                say(STOPPING)
            grace = self.grace if asked is signal.SIGTERM else 0
            asyncio.get_running_loop().call_later(grace, self._close_door)
        self.stopping.set()
        for child in self.children:
            child.send_signal(number)

    def _close_door(self) -> None:
        """The workers still let in whoever has knocked; no worker could tell whether it is the last to do so."""
        lock(self.sockets)
        for each in self.sockets:
            each.close()

    def give_up(self, code: int) -> None:
        """End the whole command with `code`."""
        self.code = code
        if not self.stopping.is_set():
            self.stop()

    async def keep_alive(self, ready: asyncio.Event) -> None:
        """One worker's place: a process in it until we stop."""
        deaths = 0
        while not self.stopping.is_set():
            served, code = await self._one_life(ready)
            if self.stopping.is_set():
                return
            if not ready.is_set() and code == WRONG_SETTING:
                self.give_up(code)
                return
            deaths = 1 if served > _HEALTHY_AFTER else deaths + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - 1))
            log.warning("worker.died", code=code, again_in=pause)
            await wait_for_event(self.stopping, pause)

    async def _one_life(self, ready: asyncio.Event) -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reads, writes = os.pipe()
        ours, its = socket.socketpair()
        try:
            child = await self._spawn(writes, its.fileno())
        finally:
            os.close(writes)
            its.close()
        self.children.add(child)
        if self.stopping.is_set():
            child.terminate()
        loop.add_reader(reads, self._heard, reads, child, ready)
        try:
            await hand_over(ours, os.environ)
            code = await self._end_of(child)
            return loop.time() - began, code
        finally:
            self.children.discard(child)
            loop.remove_reader(reads)
            os.close(reads)

    def _heard(self, reads: int, child: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        if os.read(reads, 1):
            log.info("worker.served", pid=child.pid)
            ready.set()
        asyncio.get_running_loop().remove_reader(reads)

    async def _spawn(self, ready: int, environment: int) -> asyncio.subprocess.Process:
        shared = [each.fileno() for each in self.sockets]
        names = ("--sockets", ",".join(map(str, shared)), "--ready", str(ready), "--parent", str(self.parent_reads))
        own = ("--environment", str(environment))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "switchboard.cli.processes.worker", *names, *own),
            pass_fds=(*shared, ready, self.parent_reads, environment),
            env=bare(os.environ),  # what is in it can be read by everything that runs as this user
            process_group=0,  # a Ctrl-C in the terminal is ours alone to pass on
        )

    async def until(self, ready: asyncio.Event) -> None:
        """Wait for a worker to serve, or for the end."""
        await first_of(ready.wait(), self.stopping.wait())

    async def _end_of(self, child: asyncio.subprocess.Process) -> int:
        """The exit code; when we stop, the child has its time and is killed then."""
        await first_of(child.wait(), self.stopping.wait())
        try:
            return await asyncio.wait_for(child.wait(), self.patience)
        except TimeoutError:
            log.warning("worker.killed", pid=child.pid)
            child.kill()
            return await child.wait()


def run_fleet(settings: Settings, started: Callable[[], None]) -> int:
    """Serve with several processes until a signal says stop; the exit code."""
    with tempfile.TemporaryDirectory(prefix="switchboard-metrics-") as folder:
        if settings.metrics_dir is None:
            os.environ["METRICS_DIR"] = folder  # it is handed to the workers
        return asyncio.run(_run(settings, started))


async def _run(settings: Settings, started: Callable[[], None]) -> int:
    sockets = bind(settings.host, settings.port)
    parent_reads, parent_writes = os.pipe()
    grace = settings.drain_grace if settings.redis_url else 0
    fleet = _Fleet(sockets, settings.drain_timeout + _MARGIN, grace, parent_reads)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.stop, number)
    try:
        async with asyncio.TaskGroup() as places:
            await _start_all(fleet, places, settings.workers, started)
    finally:
        os.close(parent_writes)
        os.close(parent_reads)
        for each in sockets:
            each.close()
    return fleet.code


async def _start_all(fleet: _Fleet, places: asyncio.TaskGroup, workers: int, started: Callable[[], None]) -> None:
    readies = [asyncio.Event() for _ in range(workers)]
    for index, ready in enumerate(readies):
        places.create_task(fleet.keep_alive(ready))
        if index == 0:
            await fleet.until(ready)
    for ready in readies:
        await fleet.until(ready)
    if not fleet.stopping.is_set():
        started()
