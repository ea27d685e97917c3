"""What clients see when backends, and the workers that hold them, fail or change: two workers behind a load balancer.

    .venv/bin/python scratch/bench/backends.py            all, about three minutes
    .venv/bin/python scratch/bench/backends.py crossing   one of them
    … --calls 100 --seconds 5                                                shorter

Starts fleets of its own on loopback and stops them at the end. Ends with exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tools.fleet.children import LOOPBACK, free_port, start
from tools.fleet.workers import Fleet, running_fleet

COUNTING = Path(__file__).with_name("counting.py")
COUNTING_HTTP = Path(__file__).with_name("counting_http.py")
LOST = "switchboard/stateLost"
TIMES = 5


@dataclass(frozen=True)
class Found:
    """One figure; `goal` is what it may be at most."""

    what: str
    figure: float
    goal: float
    unit: str = "s"

    @property
    def met(self) -> bool:
        """Whether it is good enough."""
        return self.figure <= self.goal


@dataclass
class Stage:
    """A fleet and the file it is configured with."""

    fleet: Fleet
    file: Path
    args: argparse.Namespace

    def write(self, servers: dict[str, Any]) -> None:
        """Replace the file in one step."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"plugins": {"everything": {"enabled": False}}, "mcpServers": servers}))
        beside.replace(self.file)


def child(*words: str, **row: Any) -> dict[str, Any]:
    """A row for a counting server on stdio."""
    return {"command": sys.executable, "args": ["-S", str(COUNTING), *words], "era": "handshake", **row}


@contextmanager
def staged(args: argparse.Namespace, servers: dict[str, Any]) -> Iterator[Stage]:
    """Two workers that read one file."""
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder:
        file = Path(folder, "switchboard.json")
        stage = Stage.__new__(Stage)
        stage.file, stage.args = file, args
        stage.write(servers)
        settings = {"CONFIG_FILE": str(file), "LOG_LEVEL": "warning"}
        with running_fleet(Path(folder), env=settings) as stage.fleet:
            yield stage


@asynccontextmanager
async def client(url: str, token: str, mode: str = "legacy") -> AsyncIterator[Client]:
    """An official client of either era (`legacy`, `auto`)."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, raise_exceptions=False) as opened,
    ):
        yield opened


async def listed(opened: Client) -> set[str]:
    """The names of all tools."""
    return {tool.name for tool in (await opened.list_tools(cache_mode="refresh")).tools}


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> float:
    """Seconds that it took."""
    started = time.perf_counter()
    async with asyncio.timeout(seconds):
        while True:
            if await true():
                return time.perf_counter() - started
            await asyncio.sleep(0.02)


async def offered(stage: Stage, token: str, *tools: str) -> None:
    """Wait until each worker offers these."""
    for index in range(len(stage.fleet.ports)):
        async with client(stage.fleet.worker_url(index), token) as opened:

            async def all_there(opened: Client = opened) -> bool:
                return set(tools) <= await listed(opened)

            await until(all_there)


def said(result: Any) -> tuple[str, int, str]:
    """Whose answer, the how manyth, and the text."""
    who, number, text = result.content[0].text.split(":", 2)
    return who, int(number), text


async def served(opened: Client, tool: str) -> tuple[float, Any]:
    """Call until there is an answer: seconds, and the answer."""
    started = time.perf_counter()
    while True:
        try:
            return time.perf_counter() - started, await opened.call_tool(tool)
        except MCPError:
            await asyncio.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as trying:
        return trying.connect_ex((LOOPBACK, port)) == 0


def alive(group: int) -> bool:
    """Whether a process group has a member left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def parent(pid: int) -> int:
    """Who started a process (Linux)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# -- what is measured -------------------------------------------------------------------------------------------------


async def killed_backend(stage: Stage) -> list[Found]:
    """A backend is killed between two calls."""
    token = stage.fleet.token()
    await offered(stage, token, "own__count", "all__count")
    found = []
    everywhere, here = stage.fleet.url, stage.fleet.worker_url(0)  # each worker has a shared child of its own
    for tool, whose, url in (("own__count", "a session's child", everywhere), ("all__count", "a shared child", here)):
        took = []
        async with client(url, token) as opened:
            for _ in range(TIMES):
                pid = int(said((await served(opened, tool))[1])[0])
                os.kill(pid, signal.SIGKILL)
                seconds, _ = await served(opened, tool)
                took.append(seconds)
        found.append(Found(f"{whose} was killed: serves again after, at most of {TIMES}", max(took), 5))
    return found


async def killed_worker(stage: Stage) -> list[Found]:
    """The worker that holds a session's child is killed."""
    token = stage.fleet.token()
    await offered(stage, token, "own__count")
    took, reaped, told = [], [], []
    for _ in range(2):
        async with client(stage.fleet.url, token) as opened:
            pid = int(said(await opened.call_tool("own__count"))[0])
            index = [worker.pid for worker in stage.fleet.workers].index(parent(pid))
            stage.fleet.kill(index)
            started = time.perf_counter()

            async def gone(pid: int = pid) -> bool:
                return not alive(pid)

            watching = asyncio.create_task(until(gone))
            _, first = await served(opened, "own__count")
            took.append(time.perf_counter() - started)
            reaped.append(await watching)
            after = [first, *[await opened.call_tool("own__count") for _ in range(4)]]
            told.append(sum(bool((result.meta or {}).get(LOST)) for result in after))
        await asyncio.to_thread(stage.fleet.restart, index)
        await offered(stage, token, "own__count")
    return [
        Found("the worker with a session's child was killed: the session goes on after, at most of 2", max(took), 20),
        Found("… and the child it left is gone after", max(reaped), 5),
        Found(
            "… and the client is told that state was lost, times too few or too many",
            max(abs(n - 1) for n in told),
            0,
            "",
        ),
    ]


async def new_backend(stage: Stage) -> list[Found]:
    """A backend is written into the file."""
    token = stage.fleet.token()
    await offered(stage, token, "own__count")
    took = []
    for number in range(TIMES):
        started = time.perf_counter()
        stage.write({**SERVERS, f"new{number}": child(scope="shared")})
        await offered(stage, token, f"new{number}__count")
        took.append(time.perf_counter() - started)
    stage.write(SERVERS)
    return [Found(f"a new backend is offered by every worker after, at most of {TIMES}", max(took), 30)]


async def reload(stage: Stage) -> list[Found]:
    """The file changes again and again while clients call."""
    token = stage.fleet.token()
    await offered(stage, token, "own__count", "all__count", "turning__count")
    over, calls, failed, forgotten = asyncio.Event(), 0, list[str](), 0

    async def work(mode: str, tool: str, keeps: bool) -> None:
        nonlocal calls, forgotten
        async with client(stage.fleet.url, token, mode) as opened:
            last = 0
            while not over.is_set():
                try:
                    _, number, _ = said(await opened.call_tool(tool))
                except MCPError as error:
                    failed.append(f"{mode} {tool}: {error.message}")
                    continue
                calls += 1
                forgotten += keeps and number <= last
                last = number

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(work("legacy", "own__count", keeps=True))
            tasks.create_task(work("legacy", "turning__count", keeps=False))
            tasks.create_task(work("auto", "all__count", keeps=False))
        until_then = time.perf_counter() + stage.args.seconds
        changes = 0
        while time.perf_counter() < until_then:
            changes += 1
            turning = child(scope="session", env={"TURN": str(changes)})
            stage.write({**SERVERS, "turning": turning, **({"more": child()} if changes % 2 else {})})
            await asyncio.sleep(2)
        over.set()
    stage.write(SERVERS)
    for one in failed[:5]:
        print(f"    failed: {one}")
    return [
        Found(f"{changes} reloads during {calls:,} calls: calls that failed", len(failed), 0, ""),
        Found("… sessions whose child was ended though it was not concerned", forgotten, 0, ""),
    ]


async def crossing(stage: Stage) -> list[Found]:
    """Two people's calls, interleaved, on what remembers."""
    found = []
    people = {name: stage.fleet.token(name) for name in ("alice", "bob")}
    await offered(stage, people["alice"], "own__count", "web__count")
    for tool, mode in ((tool, mode) for tool in ("own__count", "web__count") for mode in ("legacy", "auto")):
        era = "handshake" if mode == "legacy" else "modern"
        each = stage.args.calls // 2
        heard: dict[str, list[tuple[str, int, str]]] = {name: [] for name in people}

        async def speak(name: str, opened: Client, each: int = each, tool: str = tool, heard: Any = heard) -> None:
            async def one(number: int) -> None:
                heard[name].append(said(await opened.call_tool(tool, {"text": f"{name} {number}"})))

            for start_at in range(0, each, 10):
                await asyncio.gather(*(one(number) for number in range(start_at, min(start_at + 10, each))))

        async with AsyncExitStack() as stack:
            opened = {
                name: await stack.enter_async_context(client(stage.fleet.url, people[name], mode)) for name in people
            }
            started = time.perf_counter()
            await asyncio.gather(*(speak(name, opened[name]) for name in people))
            took = time.perf_counter() - started
        wrong = sum(not text.startswith(name) for name, all_said in heard.items() for _, _, text in all_said)
        missing = sum(
            {f"{name} {number}" for number in range(each)} != {text for *_, text in heard[name]} for name in people
        )
        owners = [{who for who, *_ in all_said} for all_said in heard.values()]
        crossed = len(owners[0] & owners[1]) + sum(len(mine) != 1 for mine in owners)
        counts = sum({number for _, number, _ in all_said} != set(range(1, each + 1)) for all_said in heard.values())
        print(f"    {tool}, {era} clients: {each * 2} calls in {took:.1f} s")
        found.append(
            Found(
                f"{each * 2} calls of two people on {tool}, {era}: answers that crossed or are missing",
                wrong + missing,
                0,
                "",
            )
        )
        found.append(Found("… memories that crossed, were shared or torn", crossed + counts, 0, ""))
    return found


async def many(stage: Stage) -> list[Found]:
    """Twenty backends, one of which hangs."""
    token = stage.fleet.token()
    slowest, complete = 0.0, 0.0
    async with client(stage.fleet.worker_url(0), token) as opened:
        started = time.perf_counter()
        names: set[str] = set()
        while len(names) < 19:
            before = time.perf_counter()
            names = await listed(opened)
            slowest = max(slowest, time.perf_counter() - before)
            complete = time.perf_counter() - started
            await asyncio.sleep(0.02)
    return [
        Found("20 backends, one of which hangs: the slowest list since the first client", slowest, 1),
        Found("… all others listed after", complete, 30),
    ]


SERVERS: dict[str, Any] = {
    "own": child(scope="session"),
    "all": child(scope="shared"),
    "turning": child(scope="session"),
}
TWENTY = {f"b{number}": child(scope="shared") for number in range(19)} | {"stuck": child("hang")}
MEASURES: dict[str, Callable[[Stage], Awaitable[list[Found]]]] = {
    "killed-backend": killed_backend,
    "killed-worker": killed_worker,
    "new-backend": new_backend,
    "reload": reload,
    "crossing": crossing,
    "many": many,
}


def measured(args: argparse.Namespace, names: list[str]) -> Iterator[Found]:
    """Every figure asked for."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        web = start("web", [sys.executable, str(COUNTING_HTTP), str(port)], Path(folder), dict(os.environ))
        try:
            web.wait_until(lambda: listens(port), 60)
            SERVERS["web"] = {"url": f"http://127.0.0.1:{port}/mcp", "era": "handshake"}
            if few := [name for name in names if name != "many"]:
                with staged(args, SERVERS) as stage:
                    for name in few:
                        yield from asyncio.run(_measured(name, stage))
            if "many" in names:
                with staged(args, TWENTY) as stage:
                    yield from asyncio.run(_measured("many", stage))
        finally:
            web.stop()


async def _measured(name: str, stage: Stage) -> list[Found]:
    return await MEASURES[name](stage)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30, help="of reloading")
    args = parser.parse_args()
    if unknown := set(args.names) - set(MEASURES):
        parser.error(f"there is no {sorted(unknown)[0]!r}; there are {', '.join(MEASURES)}")
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # the clients', who complain of what they cut off themselves
    met = True
    for found in measured(args, args.names or list(MEASURES)):
        figure = f"{found.figure:.2f} s" if found.unit else f"{found.figure:.0f}"
        goal = f"{found.goal:g} s" if found.unit else f"{found.goal:g}"
        print(f"  {'met' if found.met else 'MISSED':6}  {found.what}: {figure} (goal {goal})", flush=True)
        met = met and found.met
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
