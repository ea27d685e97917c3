"""What clients observe, appended to a file as one JSON value a line, so that a crash of the run loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

Era = Literal["handshake", "modern"]


@dataclass
class Call:
    """One call, sent once, as its client saw it."""

    client: str
    era: Era
    seq: int
    kind: str
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    how: str = ""
    """`ok`, or how the failure was told."""

    numbers: list[int] = field(default_factory=list)
    """The numbered events of its stream, in order."""

    resumable: bool = False
    """Whether the client held an event id to go on from."""

    resumed: int = 0
    silence: float = 0.0
    """The longest time without a sign of this call."""

    def sign(self, before: float) -> float:
        """Record a sign of life; `before` is when the last one came. Returns now."""
        now = time.time()
        self.silence = max(self.silence, now - before)
        return now


@dataclass(frozen=True)
class ReceivedEvent:
    """One numbered event outside of calls: on a standalone stream, or the value read after a notice."""

    client: str
    era: Era
    number: int
    at: float


@dataclass(frozen=True)
class Incident:
    """Anything else that is counted: a session that was gone, a stream that was opened again."""

    client: str
    what: Literal["session lost", "session kept", "stream reopened"]
    at: float
    detail: str = ""


@dataclass(frozen=True)
class Lag:
    """How late the event loop of a client process was at worst, in seconds: what this machine adds to every delay."""

    worst: float


Observation = Call | ReceivedEvent | Incident | Lag
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Call, ReceivedEvent, Incident, Lag)}


class ObservationLog:
    """Writes observations to a file."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, observation: Observation) -> None:
        """Append one."""
        self._out.write(json.dumps([type(observation).__name__, asdict(observation)]) + "\n")


def read(path: Path) -> Iterator[Observation]:
    """The observations in a file."""
    for line in path.read_text().splitlines():
        kind, fields = json.loads(line)
        yield _KINDS[kind](**fields)
