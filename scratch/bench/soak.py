"""One worker at full load for ten minutes, calls of both eras: does it grow, does it leak, does it slow down?

    .venv/bin/python scratch/bench/soak.py --seconds 600

Every second it looks at the worker's memory, descriptors and answers; before and after the load at its tasks and at
the connections that Redis has. Writes soak.json and soak.svg into --into. Ends with exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from tools.fleet.workers import Fleet, only, running_fleet

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
WARM_SHARE = 0.2
"""The part of the time in which a worker may still grow: pools, caches and the allocator fill up."""
WARM_UP_S = 5.0
REST_S = 3.0
"""After the load, before what is left is counted."""
WIDTH, HEIGHT, MARGIN = 800, 160, 40


@dataclass
class Second:
    """What was seen in one second."""

    at: float
    calls: int
    p50_ms: float
    p99_ms: float
    rss_mib: float
    descriptors: int


@dataclass
class Rest:
    """What a worker holds while nobody calls."""

    tasks: int
    descriptors: int
    redis_connections: int
    rss_mib: float


@dataclass
class Soak:
    """The whole run."""

    seconds: list[Second] = field(default_factory=list)
    all_ms: list[float] = field(default_factory=list)
    failed: int = 0
    before: Rest | None = None
    after: Rest | None = None


class Caller:
    """One connection to the worker, over which one call follows the other."""

    def __init__(self, port: int, token: str, *, modern: bool) -> None:
        self._port, self._token, self._modern = port, token, modern
        self._session = ""

    async def __aenter__(self) -> Caller:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        if not self._modern:
            hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}
            head, _ = await self._post("initialize", hello)
            self._session = head["mcp-session-id"]
            await self._post("notifications/initialized", None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool; its result."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        _, body = await self._post("tools/call", params | ({"_meta": META} if self._modern else {}), tool)
        return json.loads(body)["result"]

    async def _post(self, method: str, params: Any, name: str = "") -> tuple[dict[str, str], bytes]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        message |= {} if params is None else {"id": 1, "params": params}
        headers = {
            "host": f"127.0.0.1:{self._port}", "authorization": f"Bearer {self._token}",
            "content-type": "application/json", "accept": "application/json, text/event-stream",
        }  # fmt: skip
        if self._modern:
            headers |= {"mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": name}
        elif self._session:
            headers |= {"mcp-protocol-version": HANDSHAKE, "mcp-session-id": self._session}
        body = json.dumps(message).encode()
        head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        self._writer.write(f"POST /mcp HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:] if line}
        answer = await self._reader.readexactly(int(found.get("content-length", 0)))
        if lines[0].split()[1] not in ("200", "202"):
            raise RuntimeError(f"{lines[0]}: {answer[:200]!r}")
        return found, answer


async def rest(fleet: Fleet, token: str) -> Rest:
    """Look at a worker that nobody calls."""
    async with Caller(fleet.ports[0], token, modern=True) as caller:
        tasks = int((await caller.call("tasks", {}))["content"][0]["text"])
    with redis.Redis.from_url(fleet.redis.url) as client:
        connections = int(client.info("clients")["connected_clients"])
    pid = fleet.workers[0].pid
    return Rest(tasks, descriptors(pid), connections, rss_mib(pid))


def rss_mib(pid: int) -> float:
    """Resident memory (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def descriptors(pid: int) -> int:
    """Open files and sockets, as the kernel counts them for who may not look at them."""
    fields = Path(f"/proc/{pid}/status").read_text().splitlines()
    links = Path(f"/proc/{pid}/fd").stat().st_size
    return links or next(int(line.split()[1]) for line in fields if line.startswith("FDSize"))


def part(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


async def soak(fleet: Fleet, seconds: float, clients: int) -> Soak:
    """Load the worker for so long, by clients of both eras."""
    token, found, recent = fleet.token(), Soak(), list[float]()
    until = time.monotonic() + WARM_UP_S

    async def lane(number: int) -> None:
        async with Caller(fleet.ports[0], token, modern=number % 2 == 0) as caller:
            while time.monotonic() < until:
                began = time.perf_counter()
                result = await caller.call("echo", {"message": "hello"})
                recent.append((time.perf_counter() - began) * 1000)
                found.failed += bool(result.get("isError"))

    async def look() -> None:
        began = time.monotonic()
        while time.monotonic() < until:
            await asyncio.sleep(1)
            taken = recent[:]
            recent.clear()
            found.all_ms += taken
            pid = fleet.workers[0].pid
            at = time.monotonic() - began
            found.seconds.append(
                Second(at, len(taken), part(taken, 0.5), part(taken, 0.99), rss_mib(pid), descriptors(pid))
            )

    async with asyncio.TaskGroup() as tasks:  # pools of connections are as large as they get, from here on
        for number in range(clients):
            tasks.create_task(lane(number))
    await asyncio.sleep(REST_S)
    found.before = await rest(fleet, token)
    recent.clear()
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(lane(number))
        tasks.create_task(look())
    await asyncio.sleep(REST_S)
    found.after = await rest(fleet, token)
    return found


def report(found: Soak) -> dict[str, Any]:
    """Print what was found; goal → whether it is met."""
    assert found.before is not None
    assert found.after is not None
    settled = [each.rss_mib for each in found.seconds[int(len(found.seconds) * WARM_SHARE) :]] or [0.0]
    middle, before, after = part(settled, 0.5), found.before, found.after
    p50, p99 = part(found.all_ms, 0.5), part(found.all_ms, 0.99)
    swing = max(max(settled) - middle, middle - min(settled)) / (middle or 1)
    print(
        f"{len(found.all_ms):,} calls in {len(found.seconds)} s, {found.failed} failed; p50 {p50:.1f} p99 {p99:.1f} ms"
    )
    print(f"memory {middle:.0f} MiB ± {swing:.1%}; before {before}, after {after}")
    goals = {
        "memory stays within 5 % once warm": swing <= 0.05,
        "no task is left": after.tasks <= before.tasks,
        "no descriptor is left": after.descriptors <= before.descriptors,
        "no connection to Redis is left": after.redis_connections <= before.redis_connections,
        "p99 is at most 5 times p50": p99 <= 5 * p50,
        "no call failed": not found.failed,
    }
    for goal, met in goals.items():
        print(f"  {'met' if met else 'MISSED':6}  {goal}")
    return goals


def drawn(found: Soak) -> str:
    """The run as SVG: calls a second, latency, memory, one under the other."""
    rows = (
        ("calls a second", [("calls", [float(each.calls) for each in found.seconds])]),
        ("p50 and p99, ms", [("p50", [s.p50_ms for s in found.seconds]), ("p99", [s.p99_ms for s in found.seconds])]),
        ("memory, MiB", [("rss", [each.rss_mib for each in found.seconds])]),
    )  # fmt: skip
    size = f'width="{WIDTH}" height="{HEIGHT * len(rows)}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    for row, (title, lines) in enumerate(rows):
        top = row * HEIGHT
        most = max((max(values, default=0.0) for _, values in lines), default=0.0) or 1.0
        parts.append(f'<text x="{MARGIN}" y="{top + 16}">{title}, at most {most:,.1f}</text>')
        for number, (_, values) in enumerate(lines):
            step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
            points = " ".join(
                f"{MARGIN + index * step:.1f},{top + HEIGHT - 8 - value / most * (HEIGHT - 36):.1f}"
                for index, value in enumerate(values)
            )
            color = ("#1f6feb", "#d1242f")[number]
            parts.append(f'<polyline fill="none" stroke="{color}" points="{points}"/>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Soak a fleet of one worker that lives as long as it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--into", type=Path, default=Path(".cache"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        env = only(folder, "soak", "soak_plugin:plugin")
        env["PYTHONPATH"] = f"{Path(__file__).parent}:{env['PYTHONPATH']}"
        env |= {"RATE_LIMIT": "100000000", "LOG_LEVEL": "info", "SESSION_TTL": "3600"}
        with running_fleet(folder, workers=1, env=env) as fleet:
            found = asyncio.run(soak(fleet, given.seconds, given.clients))
    goals = report(found)
    given.into.mkdir(parents=True, exist_ok=True)
    (given.into / "soak.svg").write_text(drawn(found))
    document = {key: value for key, value in asdict(found).items() if key != "all_ms"} | {"goals": goals}
    (given.into / "soak.json").write_text(json.dumps(document, indent=1))
    sys.exit(0 if all(goals.values()) else 1)


if __name__ == "__main__":
    main()
