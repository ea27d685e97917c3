"""What an open stream costs a worker that has nothing to say on it, and whether that comes back.

    .venv/bin/python -m tools.chaos.idle --streams 5000

One worker, one Redis, no balancer. Streams of each era are opened, counted, closed, and opened once more: what the
second opening adds to the first is what was not given back. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from tools.chaos.modern import META
from tools.chaos.modern import VERSION as MODERN
from tools.chaos.raw_http import sent
from tools.chaos.report import machine
from tools.chaos.short_session import VERSION as HANDSHAKE
from tools.fleet.children import Child, free_port
from tools.fleet.redis_server import start_redis
from tools.fleet.workers import fleet_settings, start_worker

AT_ONCE: Final = 16
WARM_UP: Final = 300
MOST_BYTES: Final = 40 * 1024
"""What a stream may cost; the SDK's own listen handler takes 55 KB for each."""

KEPT: Final = 0.10
"""The share of the streams' memory that a second opening may add: fragments, not a leak."""

POOLED: Final = 100
"""Descriptors that a worker keeps of what it has used: its pool of connections to Redis."""

CLOSED_WITHIN_S: Final = 60.0
QUIET: Final = {"plugins": {"everything": {"enabled": False}}}
"""Nothing is said unasked: the demonstration would talk to every stream."""

SPARE: Final = 200
Opened = AsyncGenerator[None, None]


async def standalone(port: int, number: int) -> Opened:
    """A session and its standalone stream; yields once the stream is primed."""
    hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "idle", "version": "1"}}
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "initialize", "params": hello}).encode()
    async with sent(port, "POST", _BOTH, body) as answer:
        text = await answer.body()
        if answer.status != 200:
            raise RuntimeError(f"initialize: {answer.status} {text.decode()}")
        headers = {**_BOTH, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
    async with sent(port, "GET", headers) as answer, aclosing(answer.events()) as events:
        await anext(events)
        yield
    async with sent(port, "DELETE", headers) as answer:
        await answer.body()


async def listening(port: int, number: int) -> Opened:
    """A `subscriptions/listen` stream; yields once it is acknowledged."""
    params = {"notifications": {"toolsListChanged": True}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": number, "method": "subscriptions/listen", "params": params}
    headers = {**_BOTH, "MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen"}
    async with sent(port, "POST", headers, json.dumps(message).encode()) as answer, aclosing(answer.events()) as events:
        await anext(events)
        yield


async def opened(kind: Callable[[int, int], Opened], port: int, count: int) -> list[Opened]:
    """Open so many, some at a time."""
    streams = [kind(port, number) for number in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(stream: Opened) -> None:
        async with gate:
            await anext(stream)

    await asyncio.gather(*(one(stream) for stream in streams))
    return streams


async def closed(streams: list[Opened], worker: Child, before: int) -> None:
    """Leave them, and wait until the worker has noticed."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(stream: Opened) -> None:
        async with gate:
            await anext(stream, None)

    await asyncio.gather(*(one(stream) for stream in streams))
    await asyncio.to_thread(_wait_for_fewer, worker, before + POOLED)


def _wait_for_fewer(worker: Child, most: int) -> None:
    worker.wait_until(lambda: descriptors(worker) <= most, CLOSED_WITHIN_S)


def descriptors(worker: Child) -> int:
    """How many descriptors the worker holds (Linux)."""
    return len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))


def rss(worker: Child) -> int:
    """Resident bytes of the worker (Linux)."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


async def measure(kind: Callable[[int, int], Opened], port: int, worker: Child, count: int) -> list[int]:
    """Resident bytes: before, open, closed, open again, closed again."""
    idle = descriptors(worker)
    await closed(await opened(kind, port, WARM_UP), worker, idle)
    found = [rss(worker)]
    for _ in range(2):
        streams = await opened(kind, port, count)
        await asyncio.sleep(2)
        found.append(rss(worker))
        await closed(streams, worker, idle)
        await asyncio.sleep(2)
        found.append(rss(worker))
    return found


def report(name: str, count: int, found: list[int]) -> bool:
    """Print the figures; whether the goals are met."""
    before, first, after, second, at_last = found
    each = (first - before) / count
    growth = (second - first) / max(first - before, 1)
    mib = [f"{value / 2**20:.1f}" for value in (before, first, after, second, at_last)]
    print(f"{count:,} {name}: {each / 1024:.1f} KiB each")
    print(
        f"  resident MiB: {mib[0]} before, {mib[1]} open, {mib[2]} closed, {mib[3]} open again, {mib[4]} closed again"
    )
    met = each <= MOST_BYTES and growth <= KEPT
    print(f"  {'met' if met else 'MISSED':6}  at most {MOST_BYTES // 1024} KiB each, and at most {KEPT:.0%} not reused")
    return met


def main() -> None:
    """Measure both kinds, each on a worker of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=5000)
    count: int = parser.parse_args().streams
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
    if not 10 <= count <= most:
        parser.error(f"--streams must be between 10 and {most}: `ulimit -n` allows no more descriptors")
    met = [
        _measured("standalone streams", standalone, count),
        _measured("listen streams", listening, count),
    ]
    print(f"machine  {machine()}")
    sys.exit(0 if all(met) else 1)


def _measured(name: str, kind: Callable[[int, int], Opened], count: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        server = start_redis(Path(folder))
        port = free_port()
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(QUIET))
        env = (
            {"CONFIG_FILE": str(config)}
            | fleet_settings(f"http://localhost:{port}", server.url)
            | {"AUTH_MODE": "none", "LOG_LEVEL": "warning"}
        )
        worker = start_worker(Path(folder), port, env)
        try:
            return report(name, count, asyncio.run(measure(kind, port, worker, count)))
        finally:
            worker.stop()
            if server.child:
                server.child.stop()


_BOTH: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

if __name__ == "__main__":
    main()
