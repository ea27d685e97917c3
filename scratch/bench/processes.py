"""Processes under measurement: pinned to cores, frozen while others are measured, counted, ended with all they began.

What is counted is read from /proc; elsewhere than on Linux there is no CPU, memory or pinning, and rates remain.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.fleet.children import Child, start

PROC: Final = Path("/proc")
TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cores:
    """Which cores the server has, and which the load, Redis and the backends behind a gateway."""

    server: frozenset[int]
    load: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first core for the server, the others for the rest; on one core, or without pinning, all for all."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(frozenset(), frozenset())
        mine = sorted(os.sched_getaffinity(0))
        return cls(frozenset(mine[:1]), frozenset(mine[1:] or mine))

    @property
    def all(self) -> frozenset[int]:
        """Both."""
        return self.server | self.load


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What is started meanwhile may run on these cores only."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Member:
    """A process of a tree, as it was when it was looked at."""

    pid: int
    began: int
    cpu: float
    """Seconds of its own, and of its children that have ended."""

    memory: int
    """Resident bytes."""

    @property
    def is_behind(self) -> bool:
        """Whether it is a child that stands behind a gateway, and no part of it."""
        with contextlib.suppress(OSError):
            words = (PROC / str(self.pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            return len(words) == 4 and words[3] == b"stdio"  # python, an option, one of our two children, stdio
        return False

    def pin(self, cores: frozenset[int]) -> None:
        """Let its threads run on these cores only."""
        with contextlib.suppress(OSError):
            for thread in (PROC / str(self.pid) / "task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless its id belongs to another process by now."""
        now = _looked_at(self.pid)
        if now is not None and now[1].began == self.began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _looked_at(pid: int) -> tuple[int, Member] | None:
    """A process and its parent's id."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    cpu = sum(int(each) for each in fields[11:15]) / TICK
    return int(fields[1]), Member(pid, int(fields[19]), cpu, int(fields[21]) * PAGE)


def tree(pid: int) -> list[Member]:
    """A process and all that it began and that still run, itself first."""
    if not PROC.exists():
        return []
    found = [_looked_at(int(each.name)) for each in PROC.iterdir() if each.name.isdigit()]
    children: dict[int, list[Member]] = {}
    own: list[Member] = []
    for each in found:
        if each is not None:
            children.setdefault(each[0], []).append(each[1])
            own += [each[1]] if each[1].pid == pid else []
    for member in own:
        own += children.get(member.pid, [])
    return own


@dataclass
class Process:
    """One that was started for measurements, with all that it begins."""

    child: Child
    frozen: bool = False

    @property
    def members(self) -> list[Member]:
        """What runs of it."""
        return tree(self.child.pid)

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far, without children that stand behind it."""
        return sum(member.cpu for member in self.members if not member.is_behind)

    def pin_what_is_behind(self, cores: frozenset[int]) -> None:
        """Give the children that stand behind it other cores than its own."""
        for member in self.members:
            if cores and member.is_behind:
                member.pin(cores)

    @property
    def memory(self) -> int:
        """Resident bytes of all of it."""
        return sum(member.memory for member in self.members)

    @property
    def descriptors(self) -> int:
        """Files and sockets that its first process has open."""
        folder = PROC / str(self.child.pid) / "fd"
        return len(list(folder.iterdir())) if folder.exists() else 0

    def freeze(self) -> None:
        """Let nothing of it run."""
        if not self.frozen:
            self.frozen = True
            for member in self.members:
                member.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run, and return when it is at rest (or after three seconds)."""
        if self.frozen:
            self.frozen = False
            for member in self.members:
                member.signal(signal.SIGCONT)
        deadline = time.monotonic() + 3
        before = self.cpu
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.cpu
            if now - before <= 0.02:
                return
            before = now

    def end(self) -> None:
        """End it and what it began, by their ids."""
        if self.frozen:
            self.thaw()
        left = self.members
        self.child.stop(timeout=10)
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 3
            for member in left:
                member.signal(number)
            while time.monotonic() < deadline and any(_same(member) for member in left):
                time.sleep(0.05)
        self.child.process.wait(timeout=5)


def _same(member: Member) -> bool:
    now = _looked_at(member.pid)
    return now is not None and now[1].began == member.began


def launch(
    name: str, command: Sequence[str], folder: Path, cores: frozenset[int], env: Mapping[str, str] | None = None
) -> Process:
    """Start a program on some cores; its output goes to `folder/NAME.log`."""
    with pinned(cores):
        return Process(start(name, command, folder, {**os.environ, **(env or {})}))
