"""`scope: shared`: one connection that remembers, for everybody and for the whole fleet."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from switchboard.backends import Backend, Bounds, Http, Sse
from tests.backends.conftest import Connect, Fleet, Person, Raw, Serve
from tools.fleet.workers import offered
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

SERVERS = Path(__file__).parents[1] / "servers"


async def bumped(client: Any) -> tuple[str, int]:
    """Which child it was, and how many calls it has had."""
    pid, count, _ = text(await client.call_tool("own__bump")).split(":")
    return pid, int(count)


async def test_all_people_on_all_workers_use_one_child_and_so_does_the_gateway_itself(
    raw: Raw, fleet: Fleet, connect: Connect, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    urls = await fleet([raw("own", "tally", str(tally))], count=2, redis_url=redis_url)
    async with (
        connect(urls[0], "handshake") as ann,
        connect(urls[1], "handshake") as bob,
        Client(urls[1]) as eve,  # who can be asked nothing, in the modern era
    ):
        for client in (ann, bob, eve):
            await offered(client, "own__bump")
        said = [await bumped(client) for client in (ann, bob, eve, ann, bob, eve)]
        together = await asyncio.gather(*(bumped(client) for client in (ann, bob, eve) for _ in range(10)))
    assert [count for _, count in said] == [1, 2, 3, 4, 5, 6]
    assert sorted(count for _, count in together) == list(range(7, 37))
    assert {pid for pid, _ in (*said, *together)} == set(tally.read_text().split())
    assert len(tally.read_text().split()) == 1


async def test_a_shared_child_that_ended_is_started_once_and_for_all(
    raw: Raw, fleet: Fleet, connect: Connect, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    urls = await fleet([raw("own", "tally", str(tally))], count=2, redis_url=redis_url)
    async with connect(urls[0], "handshake") as ann, connect(urls[1], "handshake") as bob:
        await asyncio.gather(offered(ann, "own__bump"), offered(bob, "own__bump"))
        [first] = {pid for pid, _ in (await bumped(ann), await bumped(bob))}
        os.kill(int(first), signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                try:
                    [second] = {pid for pid, _ in (await bumped(ann), await bumped(bob))}
                    break
                except MCPError:
                    pass  # it was in flight when the child died
        assert tally.read_text().split() == [first, second]


async def test_questions_of_a_shared_child_go_to_whoever_called_it_and_can_be_asked(
    handy_stdio: Any, fleet: Fleet, connect: Connect, person: Person, redis_url: str
) -> None:
    urls = await fleet([Backend("handy", handy_stdio, "shared")], count=2, redis_url=redis_url)
    async with connect(urls[0], "handshake", person) as ann, Client(urls[1], mode="legacy") as mute:
        await asyncio.gather(offered(ann, "handy__ask"), offered(mute, "handy__ask"))
        assert text(await ann.call_tool("handy__ask", {"tag": "a"})) == "accept bob a a"
        with pytest.raises(MCPError, match="There is no call in flight whose client could be asked elicitation/create"):
            await mute.call_tool("handy__ask", {"tag": "b"})
        assert text(await ann.call_tool("handy__ask", {"tag": "c"})) == "accept bob c c"


async def test_a_new_tool_of_a_shared_child_is_offered_on_every_worker(
    handy_stdio: Any, fleet: Fleet, connect: Connect, redis_url: str
) -> None:
    urls = await fleet([Backend("handy", handy_stdio, "shared")], count=2, redis_url=redis_url)
    async with connect(urls[0], "handshake") as ann, connect(urls[1], "handshake") as bob:
        for client in (ann, bob):
            await offered(client, "handy__grow")
        await bob.call_tool("handy__grow")
        async with asyncio.timeout(60):
            await asyncio.gather(offered(ann, "handy__grown"), offered(bob, "handy__grown"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_shared_child_is_taken_over_when_its_worker_dies_or_leaves(
    raw: Raw, connect: Connect, worker_processes: Any, tmp_path: Path, how: signal.Signals
) -> None:
    tally = tmp_path / "started"
    child = (sys.executable, "-S", str(SERVERS / "raw.py"), "tally", str(tally))
    async with worker_processes("shared", *child) as workers:
        clients = {url: connect(url, "handshake") for url in workers}
        [first, second] = clients
        async with clients[first] as ann, clients[second] as bob:
            await asyncio.gather(offered(ann, "own__bump"), offered(bob, "own__bump"))
            [pid] = {pid for pid, _ in (await bumped(ann), await bumped(bob))}
            held = next(url for url, worker in workers.items() if worker.pid == _parent(int(pid)))
            left = bob if held == first else ann
            workers[held].send_signal(how)
            async with asyncio.timeout(60):
                await workers[held].wait()
                while True:
                    try:
                        fresh = await left.call_tool("own__bump")
                        break
                    except MCPError:
                        pass  # its worker was lost, or is not gone yet
        assert text(fresh).split(":")[0] != pid
        assert (fresh.meta or {})["switchboard/stateLost"] is True
        assert tally.read_text().split() == [pid, text(fresh).split(":")[0]]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_it_counts_as_one_connection_however_many_workers_use_it(
    raw: Raw, fleet: Fleet, connect: Connect, redis_url: str
) -> None:
    bounds = Bounds(connections=1, connections_of_fleet=1, connections_per_user=1)
    urls = await fleet([raw("own", bounds=bounds)], count=2, redis_url=redis_url)
    async with connect(urls[0], "handshake") as ann, connect(urls[1], "handshake") as bob:
        await asyncio.gather(offered(ann, "own__bump"), offered(bob, "own__bump"))
        assert {pid for pid, _ in [await bumped(client) for client in (ann, bob, ann, bob)]} != {""}


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_shared_session_at_a_url_is_one_for_all_workers(
    kind: str, handy: Any, handy_http: Any, serve: Serve, fleet: Fleet, connect: Connect, redis_url: str
) -> None:
    transport: Http | Sse = handy_http("handshake")
    if kind == "sse":
        transport = Sse((await serve(handy.server().sse_app())).replace("/mcp", "/sse"))
    urls = await fleet([Backend("handy", transport, "shared")], count=2, redis_url=redis_url)
    async with connect(urls[0], "handshake") as ann, connect(urls[1], "handshake") as bob:
        await asyncio.gather(offered(ann, "handy__session"), offered(bob, "handy__session"))
        said = [text(await client.call_tool("handy__session")) for client in (ann, bob, ann, bob)]
    assert len(set(said)) == 1
