"""Levels of the replay: batches of several sizes as fast as Redis takes them; 1 to 300 workers at their own pace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from scratch.bench.install import ROOT, Unavailable
from scratch.bench.measure import Pace
from scratch.bench.processes import pinned
from scratch.bench.scale import cost, replay
from scratch.bench.scale.cost import Counters
from scratch.bench.servers import Stage, answered, ours
from tools.fleet.redis_server import RedisServer

SIZES: Final = (1, 2, 4, 8, 16, 32)
WORKERS: Final = (1, 3, 10, 30, 100, 300)
CONNECTIONS: Final = 16
"""Of the levels that tell what a batch of some size costs."""

TOP: Final = 5_000
"""Calls a second of one worker at the pace that is replayed: what a busy one does."""


def measured(stage: Stage, pace: Pace) -> dict[str, Any]:
    """What calls cost Redis, and what it bears of many workers."""
    found = cost.measured(stage, pace)
    store = stage.own_redis("redis-replay")
    server = answered(ours(stage, "switchboard-replay", redis=store))
    stage.freeze_others(server.name)
    commands = replay.recorded(stage, store, server)
    if not commands:
        raise Unavailable("nothing was heard of the worker")
    each = max(1, round(found["kinds"]["handshake `tools/call`"].get("commands", 3)))
    print(f"    {len(commands)} commands were recorded, {each} for each call, such as {commands[0]}", flush=True)
    sizes = [_level(stage, store, commands, size, CONNECTIONS, 0.0, pace) for size in SIZES]
    batch = _batch(found["kinds"]["handshake `tools/call`"])
    every = batch / (TOP * each)
    levels = [_level(stage, store, commands, batch, workers, every, pace) for workers in WORKERS]
    return {**found, "commands_each": each, "batch": batch, "sizes": sizes, "levels": levels, "top": TOP}


def _batch(kind: dict[str, Any]) -> int:
    """How many commands a worker writes at once."""
    commands, reads = float(kind.get("commands", 1)), float(kind.get("reads", 1))
    return max(1, min(64, round(commands / max(reads, 0.01))))


def _level(
    stage: Stage,
    store: RedisServer,
    commands: Sequence[Sequence[str]],
    size: int,
    workers: int,
    every: float,
    pace: Pace,
) -> dict[str, float]:
    sent = [each.decode("latin-1") for each in replay.batches(commands, size)][:1000]
    port = int(store.url.rpartition(":")[2].partition("/")[0])
    plan = {"port": port, "workers": workers, "every": every, "seconds": pace.seconds, "sent": sent}
    before = Counters.of(store)
    with pinned(stage.cores.server):
        done = subprocess.run(
            [sys.executable, "-m", "scratch.bench.scale.replay"],
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=pace.seconds + 60,
            check=False,
        )
    if done.returncode:
        raise Unavailable(f"the replay ended: {done.stderr[-300:]}")
    spent = Counters.of(store).since(before)
    found: dict[str, float] = json.loads(done.stdout)
    found |= {"workers": workers, "size": size, "offered": size / every if every else 0.0}
    found |= {"commands": found["batches"] * size, "cpu_of_command": spent["cpu"] / max(spent["commands"], 1)}
    found["redis_busy"] = found["commands"] * found["cpu_of_command"]
    print(f"    {found}", flush=True)
    return found
