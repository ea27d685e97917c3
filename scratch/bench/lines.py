"""What a child does on stdio when it is spoken to directly: what the gateways in front of it are compared with."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from scratch.bench.install import ROOT, Unavailable
from scratch.bench.processes import Cores, pinned

HELLO: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


@dataclass
class Direct:
    """A child, and calls to it; times by request id."""

    process: subprocess.Popen[bytes]
    into: IO[bytes]
    out: IO[bytes]
    at: dict[int, float] = field(default_factory=dict)
    number: int = 0

    def say(self, method: str, params: object, *, notify: bool = False) -> None:
        """Write one message."""
        self.number += 1
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            message["id"] = self.number
            self.at[self.number] = time.perf_counter()
        self.into.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def call(self) -> None:
        """Write a call whose text tells its id."""
        self.say("tools/call", {"name": "echo", "arguments": {"message": f"hello {self.number + 1}"}})

    def answers(self) -> Iterator[tuple[float, bool]]:
        """For each answer the seconds that it took, and whether it is right."""
        for line in self.out:
            message = json.loads(line)
            began = self.at.pop(message.get("id", 0), None)
            if began is not None:
                text = f'"hello {message["id"]}"'.encode()
                yield time.perf_counter() - began, text in line and b'"error":' not in line

    def run(self, seconds: float, at_once: int) -> dict[str, float]:
        """Keep so many calls in flight for so long: rate, median in ms, wrong answers."""
        took, wrong = [], 0
        for _ in range(at_once):
            self.call()
        self.into.flush()
        began = time.perf_counter()
        for each, right in self.answers():
            took.append(each)
            wrong += not right
            if time.perf_counter() - began > seconds:
                break
            self.call()
            self.into.flush()
        lasted = time.perf_counter() - began
        for _ in zip(range(len(self.at)), self.answers(), strict=False):
            pass
        took.sort()
        quantiles = (took[len(took) // 2], took[int(len(took) * 0.99)]) if took else (0.0, 0.0)
        return {
            "rate": len(took) / lasted,
            "p50": quantiles[0] * 1000,
            "p99": quantiles[1] * 1000,
            "wrong": wrong,
            "answered": len(took),
        }


def measured(command: Sequence[str], cores: Cores, seconds: float, single_seconds: float) -> dict[str, float]:
    """A child on the load's cores, spoken to from the server's: 32 calls at once, then one at a time.

    Raises:
        Unavailable: it ended.
    """
    with (
        pinned(cores.load),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=_env()) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        direct = Direct(process, process.stdin, process.stdout)
        try:
            with pinned(cores.server):
                direct.say("initialize", HELLO)
                direct.into.flush()
                next(direct.answers())
                direct.say("notifications/initialized", {}, notify=True)
                direct.run(0.5, 8)
                found = direct.run(seconds, 32)
                return found | {"single_p50": direct.run(single_seconds, 1)["p50"]}
        except (OSError, StopIteration, ValueError) as error:
            raise Unavailable(f"ended: {error}") from error
        finally:
            process.terminate()


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
