"""Two workers: a call that the other one's child has to answer, and what the second one adds."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import redis

from scratch.bench.install import ROOT
from scratch.bench.load import Ask, Plan
from scratch.bench.measure import AT_ONCE, Pace, loaded
from scratch.bench.messages import sent_once
from scratch.bench.processes import Cores
from scratch.bench.rows import Contestant
from scratch.bench.servers import SMALL, Server, Stage, answered, ours
from tools.fleet.redis_server import RedisServer

SESSIONS: Final = 8
OWN_CHILD: Final = {
    "behind": {
        "prefix": "never",
        "command": SMALL[0],
        "args": list(SMALL[1:]),
        "scope": "session",
        "cwd": str(ROOT),
    }
}
COUNTED: Final = ("total_commands_processed", "total_reads_processed")


def elsewhere(stage: Stage, pace: Pace) -> dict[str, Any]:
    """Sessions whose child is on one worker, called through that one (`here`) and through another (`there`).

    `reads` are how often Redis read from a connection for each call: a trip to it is one, and a message that it pushes
    to a worker is none.
    """
    store = stage.own_redis("redis-elsewhere")
    here = answered(ours(stage, "switchboard-here", OWN_CHILD, redis=store))
    there = answered(ours(stage, "switchboard-there", OWN_CHILD, like=here))
    stage.freeze_others(here.name)
    clients = [here.client(number, modern=False) for number in range(SESSIONS)]
    ways: dict[str, tuple[Server, Sequence[tuple[Ask, ...]]]] = {}
    for name, server in (("here", here), ("there", there)):
        asking = [replace(client, port=server.port) for client in clients]
        ways[name] = (server, [(client.call("echo", f"hello {n}"),) for n, client in enumerate(asking)])
        for asks in ways[name][1]:
            sent_once(server.port, asks[0])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(pace.rounds):
        for name, (server, each) in ways.items():
            before = counted(store)
            single, _cpu = loaded(Plan(server.port, tuple(each[:1]), pace.seconds / 2), stage.cores, server.process)
            after = counted(store)
            many, _cpu = loaded(Plan(server.port, tuple(each), pace.seconds / 2), stage.cores, server.process)
            sent = single.answered * (1 + Plan.warm_seconds / single.seconds) or 1
            figures = {"single_p50": single.p50_ms, "rate": many.rate, "p50": many.p50_ms}
            figures |= {"wrong": single.wrong + many.wrong}
            figures |= {key: (after[key] - before[key]) / sent for key in COUNTED}
            found[name].append(figures)
            print(f"    {name}: {figures}", flush=True)
    return {"ways": found}


def counted(store: RedisServer) -> dict[str, float]:
    """What a Redis has counted."""
    with redis.Redis.from_url(store.url) as client:
        info: Any = client.info("stats")
    return {key: float(info.get(key, 0)) for key in COUNTED}


def two_workers(stage: Stage, pace: Pace) -> dict[str, Any]:
    """`--workers 1` and `--workers 2` in turn, on two cores if there are two more for the load, else on all."""
    every = sorted(stage.cores.all)
    apart = len(every) >= 4
    cores = Cores(frozenset(every[:2]), frozenset(every[2:])) if apart else Cores(stage.cores.all, stage.cores.load)
    servers = {
        str(count): answered(
            ours(stage, f"switchboard-{count}", options=("--workers", str(count)), cores=cores.server),
        )
        for count in (1, 2)
    }
    plans = {name: Contestant(name, name, modern=False).plan(server, AT_ONCE * 2) for name, server in servers.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for _ in range(pace.rounds):
        for name, server in servers.items():
            before = {member.pid: member.cpu for member in server.process.members[1:]}
            load, cpu = loaded(Plan(server.port, plans[name], pace.seconds), cores, server.process)
            spent = [member.cpu - before.get(member.pid, 0) for member in server.process.members[1:]]
            shares = sorted(each / sum(spent) for each in spent) if sum(spent) else []
            figures = {"rate": load.rate, "p50": load.p50_ms, "p99": load.p99_ms, "wrong": load.wrong}
            figures |= {"per_cpu": load.answered / cpu if cpu else 0.0, "smallest_share": shares[0] if shares else 1.0}
            found[name].append(figures)
            print(f"    {name} workers: {figures}", flush=True)
    for server in servers.values():
        server.process.end()
    return {"workers": found, "apart": apart, "cores": os.cpu_count()}


def median(rounds: Sequence[dict[str, float]], key: str) -> float:
    """The median of one figure."""
    return statistics.median(each[key] for each in rounds) if rounds else 0.0
