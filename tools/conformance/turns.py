"""The proof that requests took turns: the balancer's own log of who answered what."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from dataclasses import dataclass

from tools.fleet.balancer import Balancer

_ANSWERED = re.compile(r"^\S+:(\d+) [A-Z]+ /", re.MULTILINE)
LOGGED_WITHIN_S = 5.0
"""Seconds until the last stream that a client left counts as answered: a log line is written when a request ends."""


@dataclass(frozen=True)
class Turns:
    """Who answered how much so far."""

    served: Counter[int]
    """Worker's port → requests."""

    changes: float
    """The share of requests that were logged right after one of the other worker. Streams end, and are logged, late."""

    def alternated(self, workers: int) -> bool:
        """Whether no worker answered more than one request more than any other."""
        return len(self.served) == workers and max(self.served.values()) - min(self.served.values()) <= 1


def turns(balancer: Balancer) -> Turns:
    """Read the log as it is now."""
    log = balancer.child.log.with_name("served.log")
    ports = [int(match[1]) for match in _ANSWERED.finditer(log.read_text())] if log.exists() else []
    changes = sum(one != other for one, other in itertools.pairwise(ports))
    return Turns(Counter(ports), changes / max(len(ports) - 1, 1))


def settled(balancer: Balancer, workers: int) -> Turns:
    """Wait until turns are even, within reason."""
    deadline = time.monotonic() + LOGGED_WITHIN_S
    while not (now := turns(balancer)).alternated(workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    return now
