"""How long it takes to start; and how a worker fares that is under full load for long."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from typing import Any, Final

import redis

from scratch.bench.install import Unavailable
from scratch.bench.load import Plan
from scratch.bench.measure import AT_ONCE, Pace, loaded
from scratch.bench.messages import Client, sent_once
from scratch.bench.processes import launch
from scratch.bench.rows import Contestant
from scratch.bench.servers import READY_S, SERVERS, Server, Stage, tokens
from tools.fleet.children import LOOPBACK, NotReady, free_port
from tools.fleet.workers import COMMAND

OTHERS: Final = {
    "SDK, JSON": "sdk-json",
    "FastMCP": "fastmcp",
    "server-everything (Node)": "server-everything",
    "ContextForge": "contextforge",
}
CHUNKS: Final = 12
REST_S: Final = 3.0
"""After a load, before what is left of it is counted."""


def starts(stage: Stage, pace: Pace) -> dict[str, Any]:
    """Seconds from the start of a process to its first right answer to a call; and of `switchboard --version`."""
    like = stage.server("switchboard")
    stage.freeze_others(like.name)
    found: dict[str, list[float]] = {"Switchboard": [], "switchboard --version": []}
    missing: dict[str, str] = {}
    for _ in range(2 * pace.rounds + 1):
        found["Switchboard"].append(_start(stage, like))
        began = time.perf_counter()
        subprocess.run([COMMAND, "--version"], check=True, capture_output=True, timeout=60)
        found["switchboard --version"].append(time.perf_counter() - began)
    for name, kind in OTHERS.items():
        if pace.is_over:
            break
        for _ in range(1 if kind == "contextforge" else pace.rounds):
            began = time.perf_counter()
            try:
                server = SERVERS[kind](stage)
            except (Unavailable, NotReady, OSError) as error:
                missing[name] = str(error)[-300:]
                break
            found.setdefault(name, []).append(time.perf_counter() - began)
            server.process.end()
    for name, seconds in found.items():
        print(f"    {name:28}{statistics.median(seconds):6.2f} s", flush=True)
    return {"starts": found, "missing": missing}


def _start(stage: Stage, like: Server) -> float:
    port = free_port()
    client = Client(port, modern=True, token=like.tokens[0])
    ask = client.call("echo", "awake")
    command = [COMMAND, "serve", "--host", LOOPBACK, "--port", str(port)]
    began = time.perf_counter()
    process = launch(f"start-{port}", command, stage.folder, stage.cores.all, like.env)
    try:
        while time.perf_counter() - began < READY_S:
            try:
                sent_once(port, ask, timeout=5)
            except (OSError, Unavailable):
                time.sleep(0.005)
            else:
                return time.perf_counter() - began
    finally:
        process.end()
    raise Unavailable(f"no right answer within {READY_S} s of the start")


def soak(stage: Stage, seconds: float) -> dict[str, Any]:
    """Clients of both eras on one worker without a break: what a look each twelfth of the time shows.

    What it holds while nobody calls is looked at after the first, when pools are as large as they get, and at the end.
    """
    server = stage.server("switchboard")
    server.tokens = tokens(server)  # those of the rows before may end meanwhile
    stage.freeze_others(server.name)
    modern = Contestant("", "", modern=True).plan(server, AT_ONCE // 2)
    handshake = Contestant("", "", modern=False).plan(server, AT_ONCE // 2)
    looks, rest = [], []
    for chunk in range(CHUNKS):
        load, cpu = loaded(Plan(server.port, (*modern, *handshake), seconds / CHUNKS, 0.1), stage.cores, server.process)
        server.process.thaw()
        look = {"rate": load.rate, "p50": load.p50_ms, "p99": load.p99_ms, "wrong": load.wrong}
        look |= {"memory": server.process.memory, "descriptors": server.process.descriptors}
        look |= {"per_cpu": load.answered / cpu if cpu else 0.0, "seconds": load.seconds}
        looks.append(look)
        print(f"    {look}", flush=True)
        if chunk in (0, CHUNKS - 1):
            rest.append(_at_rest(stage, server))
    print(f"    at rest: {rest}", flush=True)
    return {"looks": looks, "rest": rest}


def _at_rest(stage: Stage, server: Server) -> dict[str, int]:
    """What a worker holds while nobody calls."""
    time.sleep(REST_S)
    said = sent_once(server.port, server.client(0, modern=True).call("tasks", "held", said="held ")).body
    tasks = re.search(r"held (\d+) tasks", said)
    if tasks is None:
        raise Unavailable(f"does not say how many tasks it has: {said[:200]}")
    with redis.Redis.from_url(stage.redis.url) as client:
        connections: Any = client.info("clients")
    return {
        "tasks": int(tasks[1]),
        "descriptors": server.process.descriptors,
        "connections to Redis": connections["connected_clients"],
    }
