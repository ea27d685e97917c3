"""What an idle session costs: many handshake sessions are made on one worker, and each is then used through another.

    make bench                          10,000 sessions
    make bench ARGS="--sessions 2000"

Starts a fleet of its own on loopback and stops it at the end. Ends with exit code 1 when a goal is missed: a worker
must not grow by its idle sessions, Redis must not need more than 2 KB for each, and all must answer everywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import redis

from tools.fleet.workers import Fleet, running_fleet

VERSION = "2025-11-25"
AT_ONCE = 40
WARM_UP = 500
MOST_WORKER_BYTES = 512
"""Growth of a worker for each session that still counts as none: allocator noise, not a record."""
MOST_REDIS_BYTES = 2048

T = TypeVar("T")


@dataclass(frozen=True)
class Peer:
    """One worker, spoken to as a client that has signed in."""

    http: httpx2.AsyncClient
    url: str

    async def post(
        self, method: str, params: dict[str, Any] | None = None, *, session: str = "", notify: bool = False
    ) -> httpx2.Response:
        """Send one request, or notification."""
        headers = {"Mcp-Session-Id": session, "MCP-Protocol-Version": VERSION} if session else {}
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        body |= {"params": params} if params is not None else {}
        body |= {} if notify else {"id": 1}
        answer = await self.http.post(self.url, json=body, headers=headers)
        answer.raise_for_status()
        return answer

    async def make_session(self) -> str:
        """A session that has said `initialized`, and then nothing."""
        hello = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "idle", "version": "1"}}
        session = (await self.post("initialize", hello)).headers["mcp-session-id"]
        await self.post("notifications/initialized", session=session, notify=True)
        return session

    async def use_session(self, session: str) -> bool:
        """Whether a call in the session is answered."""
        answer = await self.post("tools/call", {"name": "echo", "arguments": {"message": "awake"}}, session=session)
        return bool(answer.json()["result"]["content"][0]["text"] == "Echo: awake")

    async def end_session(self, session: str) -> None:
        """DELETE it."""
        await self.http.delete(self.url, headers={"Mcp-Session-Id": session, "MCP-Protocol-Version": VERSION})


@asynccontextmanager
async def peer(fleet: Fleet, index: int, token: str) -> AsyncIterator[Peer]:
    """A client of one worker, past the load balancer."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx2.AsyncClient(headers=headers, timeout=30, limits=limits) as http:
        yield Peer(http, fleet.worker_url(index))


async def some_at_once(work: Callable[[Any], Awaitable[T]], items: Iterable[Any]) -> list[T]:
    """Do the work for every item, AT_ONCE of them at a time."""
    queue, done = iter(items), []

    async def one_lane() -> None:
        for item in queue:
            done.append(await work(item))  # noqa: PERF401  the lanes share the list

    async with asyncio.TaskGroup() as lanes:
        for _ in range(AT_ONCE):
            lanes.create_task(one_lane())
    return done


def rss(pid: int) -> int:
    """Resident bytes of a process (Linux)."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def redis_bytes(url: str) -> tuple[int, int]:
    """How many keys sessions have in Redis, and the bytes that they use together."""
    with redis.Redis.from_url(url) as client:
        keys = list(client.scan_iter("*session:{*", count=1000))
        asking = client.pipeline(transaction=False)
        for key in keys:
            asking.memory_usage(key, samples=0)
        return len(keys), sum(asking.execute())


async def measure(fleet: Fleet, sessions: int) -> dict[str, float]:
    """Make them, count, and use them."""
    token = fleet.token()
    async with peer(fleet, 0, token) as maker, peer(fleet, 1, token) as user:
        warm = await some_at_once(lambda _: maker.make_session(), range(WARM_UP))
        await some_at_once(user.use_session, warm)
        await some_at_once(maker.end_session, warm)

        before, started = rss(fleet.workers[0].pid), time.perf_counter()
        made = await some_at_once(lambda _: maker.make_session(), range(sessions))
        took = time.perf_counter() - started
        after = rss(fleet.workers[0].pid)
        keys, used = redis_bytes(fleet.redis.url)
        answered = await some_at_once(user.use_session, made)
    return {
        "sessions": len(set(made)),
        "seconds": took,
        "before": before,
        "after": after,
        "worker_bytes": (after - before) / sessions,
        "redis_keys": keys / sessions,
        "redis_bytes": used / sessions,
        "answered": sum(answered),
    }


def report(found: dict[str, float]) -> bool:
    """Print the figures; whether all goals are met."""
    mib = 1024 * 1024
    print(f"{found['sessions']:,.0f} idle sessions made on worker 1 in {found['seconds']:.1f} s")
    print(f"  worker 1 before    {found['before'] / mib:.1f} MiB resident")
    print(f"  worker 1 after     {found['after'] / mib:.1f} MiB resident: {found['worker_bytes']:+.0f} bytes a session")
    print(f"  Redis              {found['redis_bytes']:.0f} bytes a session in {found['redis_keys']:.1f} keys")
    print(f"  worker 2           answered a call in {found['answered']:,.0f} of them")
    goals = {
        f"a worker grows by at most {MOST_WORKER_BYTES} bytes a session": found["worker_bytes"] <= MOST_WORKER_BYTES,
        f"Redis needs at most {MOST_REDIS_BYTES} bytes a session": found["redis_bytes"] <= MOST_REDIS_BYTES,
        "every session answers through the other worker": found["answered"] == found["sessions"],
    }
    for goal, met in goals.items():
        print(f"  {'met' if met else 'MISSED':6}  {goal}")
    return all(goals.values())


def main() -> None:
    """Measure with a fleet that lives as long as it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    sessions: int = parser.parse_args().sessions
    if not 1 <= sessions <= 100_000:
        parser.error("--sessions must be between 1 and 100000")
    settings = {"SESSION_TTL": "3600", "LOG_LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory(prefix="switchboard-") as folder,
        running_fleet(Path(folder), env=settings) as fleet,
    ):
        met = report(asyncio.run(measure(fleet, sessions)))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
