"""Measures a row: every contestant in turn, several times over, each by 32 clients at once and then by one.

Nothing is computed here but sums: what every round gave is kept as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from scratch.bench import lines
from scratch.bench.install import ROOT, Unavailable
from scratch.bench.load import Ask, Load, Plan
from scratch.bench.messages import sent_once
from scratch.bench.processes import Cores, Process, pinned
from scratch.bench.rows import Contestant, Row
from scratch.bench.servers import Server, Stage

AT_ONCE: Final = 32
DIRECT: Final = "the child itself"

Figures = dict[str, Any]
"""What one round gave: rate, p50, p99, answered, wrong, busy, per_cpu, memory, single_p50."""


@dataclass(frozen=True)
class Pace:
    """How long and how often."""

    rounds: int
    seconds: float
    single_seconds: float
    until: float
    """A moment of `time.monotonic()` from which on nothing more is begun."""

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() > self.until


def loaded(plan: Plan, cores: Cores, server: Process) -> tuple[Load, float]:
    """Let a process send it: what came of it, and the server's seconds of CPU meanwhile.

    Raises:
        Unavailable: the load could not be sent.
    """
    command = [sys.executable, "-m", "scratch.bench.load"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with pinned(cores.load):
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    timer = threading.Timer(plan.warm_seconds + plan.seconds + 45, process.kill)
    timer.start()
    with process:
        try:
            process.stdin.write(json.dumps(asdict(plan)))
            process.stdin.close()
            process.stdout.readline()
            cpu = server.cpu
            line = process.stdout.readline()
            cpu = server.cpu - cpu
            if not line:
                raise Unavailable(f"the load ended: {process.stderr.read().strip()[-200:]}")
        finally:
            timer.cancel()
    return Load(**json.loads(line)), cpu


def one_round(stage: Stage, server: Server, asks: Sequence[tuple[Ask, ...]], pace: Pace) -> Figures:
    """32 clients at once, and then one."""
    stage.freeze_others(server.name)
    server.process.pin_what_is_behind(stage.cores.load)
    server.process.thaw()
    load, cpu = loaded(Plan(server.port, tuple(asks), pace.seconds), stage.cores, server.process)
    memory = server.process.memory
    server.process.thaw()
    single, _ = loaded(Plan(server.port, tuple(asks[:1]), pace.single_seconds, 0.2), stage.cores, server.process)
    return {
        "rate": load.rate,
        "p50": load.p50_ms,
        "p99": load.p99_ms,
        "answered": load.answered + single.answered,
        "wrong": load.wrong + single.wrong,
        "example": load.example or single.example,
        "busy": load.busy,
        "per_cpu": load.answered / cpu if cpu > 0.05 else 0.0,
        "memory": memory,
        "single_p50": single.p50_ms,
    }


def prepared(stage: Stage, contestant: Contestant) -> tuple[Server, Sequence[tuple[Ask, ...]]]:
    """Its server, and what is to be sent; the first answer of each connection was right.

    Raises:
        Unavailable: there is no server, or it answers something else.
    """
    server = stage.server(contestant.server)
    stage.freeze_others(server.name)
    server.process.thaw()
    try:
        asks = contestant.plan(server, AT_ONCE)
        for connection in asks[:4]:
            sent_once(server.port, connection[0])
    except OSError as error:
        raise Unavailable(f"gave no answer: {error}") from error
    return server, asks


def measured(stage: Stage, row: Row, pace: Pace) -> dict[str, Any]:
    """All rounds of a row, by contestant, and who could not be measured and why."""
    rounds: dict[str, list[Figures]] = {}
    missing: dict[str, str] = dict(row.without or {})
    able: list[tuple[Contestant, Server, Sequence[tuple[Ask, ...]]]] = []
    for contestant in row.contestants:
        try:
            able.append((contestant, *prepared(stage, contestant)))
        except Unavailable as error:
            missing[contestant.name] = str(error)
    for number in range(pace.rounds):
        if row.direct:
            _note(rounds, DIRECT, lines.measured(row.direct, stage.cores, pace.seconds, pace.single_seconds))
        for contestant, server, asks in able[:: -1 if number % 2 else 1]:
            if pace.is_over or contestant.name in missing:
                continue
            try:
                _note(rounds, contestant.name, one_round(stage, server, asks, pace))
            except Unavailable as error:
                missing[contestant.name] = str(error)
    return {"rounds": rounds, "missing": missing}


def _note(rounds: dict[str, list[Figures]], name: str, figures: Figures) -> None:
    rounds.setdefault(name, []).append(figures)
    told = f"{figures['rate']:10,.0f}/s  p50 {figures['p50']:8.2f} ms, alone {figures['single_p50']:7.3f} ms"
    wrong = f"  {figures['wrong']} WRONG: {figures.get('example', '')[:120]!r}" if figures["wrong"] else ""
    print(f"    {name:28}{told}{wrong}", flush=True)
