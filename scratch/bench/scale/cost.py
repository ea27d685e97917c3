"""What each kind of call asks of Redis: commands, reads, bytes and CPU; and what sessions and streams keep there.

A worker with a Redis of its own is called by 32 clients; what the two do when nobody calls is taken off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis

from scratch.bench.idle import stream
from scratch.bench.install import ROOT, Unavailable
from scratch.bench.load import Plan
from scratch.bench.measure import AT_ONCE, Pace, loaded
from scratch.bench.rows import Contestant, Makes, echo, page, steps
from scratch.bench.servers import SMALL, Server, Stage, answered, ours
from tools.fleet.redis_server import RedisServer

KEPT: Final = 1_000
"""Sessions, and streams, whose memory is looked at."""

BEHIND: Final = {"prefix": "never", "command": SMALL[0], "args": list(SMALL[1:]), "cwd": str(ROOT)}


@dataclass(frozen=True)
class Counters:
    """What a Redis has counted since it was started."""

    at: float
    cpu: float
    commands: float
    reads: float
    bytes_in: float
    bytes_out: float
    memory: float
    by_command: Mapping[str, float]

    @classmethod
    def of(cls, store: RedisServer) -> Counters:
        """Look."""
        with redis.Redis.from_url(store.url, decode_responses=True) as client:
            info: Any = client.info("everything")
            each: Any = client.info("commandstats")
        return cls(
            time.monotonic(),
            info["used_cpu_user"] + info["used_cpu_sys"],
            info["total_commands_processed"],
            info.get("total_reads_processed", 0),
            info["total_net_input_bytes"],
            info["total_net_output_bytes"],
            info["used_memory"],
            {name.removeprefix("cmdstat_"): row["calls"] for name, row in each.items()},
        )

    def since(self, before: Counters) -> dict[str, float]:
        """What was counted in between."""
        keys = ("at", "cpu", "commands", "reads", "bytes_in", "bytes_out")
        return {key: getattr(self, key) - getattr(before, key) for key in keys}

    def commands_since(self, before: Counters) -> dict[str, float]:
        """The same by command."""
        return {name: count - before.by_command.get(name, 0) for name, count in self.by_command.items()}


KINDS: Final[tuple[tuple[str, str, Makes, bool], ...]] = (
    ("modern `tools/call`, and any other modern request to a plugin", "plugin", echo, True),
    ("handshake `tools/call`", "plugin", echo, False),
    ("a page of `tools/list`, handshake", "plugin", page, False),
    ("handshake `tools/call` that reports progress: a stored stream", "plugin", steps, False),
    ("hop to a shared child, modern", "child", echo, True),
    ("hop to a shared child, handshake", "child", echo, False),
)
"""What is called on which of the two workers, how, and whether by modern clients."""


def measured(stage: Stage, pace: Pace) -> dict[str, Any]:
    """By kind of call, for each call; and the bytes that are kept."""
    store = stage.own_redis("redis-cost")
    servers = {
        "plugin": answered(ours(stage, "switchboard-cost", redis=store)),
        "child": answered(ours(stage, "switchboard-cost-hop", {"behind": {**BEHIND, "scope": "shared"}}, redis=store)),
    }
    stage.freeze_others("switchboard-cost")
    kinds: dict[str, Any] = {}
    for name, which, asks, modern in KINDS:
        try:
            kinds[name] = _kind(stage, store, servers[which], Contestant(name, "", asks, modern), pace)
        except Unavailable as error:
            kinds[name] = {"missing": str(error)}
        print(f"    {name}: {kinds[name]}", flush=True)
    return {"kinds": kinds, "kept": _kept(store, servers["plugin"])}


def _kind(stage: Stage, store: RedisServer, server: Server, contestant: Contestant, pace: Pace) -> dict[str, Any]:
    plan = contestant.plan(server, AT_ONCE)
    loaded(Plan(server.port, plan, 0.5), stage.cores, server.process)
    looking = Counters.of(store)
    idle_from = Counters.of(store)
    time.sleep(2)
    idle_to = Counters.of(store)
    load, cpu = loaded(Plan(server.port, plan, pace.seconds, 0.0), stage.cores, server.process)
    after = Counters.of(store)
    if load.wrong or not load.answered:
        raise Unavailable(f"{load.wrong} wrong answers: {load.example[:200]}")
    look, idle, spent = idle_from.since(looking), idle_to.since(idle_from), after.since(idle_to)
    share = spent["at"] / idle["at"]
    each = {
        key: max(0.0, (spent[key] - look[key] - max(0.0, idle[key] - look[key]) * share) / load.answered)
        for key in spent
        if key != "at"
    }
    idle_commands = idle_to.commands_since(idle_from)
    commands = {
        name: (count - idle_commands.get(name, 0) * share) / load.answered
        for name, count in after.commands_since(idle_to).items()
        if name not in ("info", "client|setinfo", "select", "hello")
    }
    return {
        **each,
        "rate": load.rate,
        "worker_cpu": cpu / load.answered,
        "by_command": {name: round(count, 2) for name, count in sorted(commands.items()) if count > 0.02},
    }


def _kept(store: RedisServer, server: Server) -> dict[str, float]:
    """Bytes of Redis for each session, and more for each with an open stream."""
    before = Counters.of(store).memory
    clients = [server.client(number, modern=False) for number in range(KEPT)]
    sessions = Counters.of(store).memory
    asking = iter(clients)
    held = [stream(server, lambda _client: next(asking).stream(), number) for number in range(KEPT)]
    time.sleep(1)
    streams = Counters.of(store).memory
    for one in held:
        one.close()
    return {"session": (sessions - before) / KEPT, "stream": (streams - sessions) / KEPT}
