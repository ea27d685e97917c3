"""One session, two workers, no stickiness: a backend sees one client, and remembers for it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from switchboard.backends import Backend, Sse
from tools.fleet.workers import offered
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


async def test_a_child_of_a_session_is_reached_from_every_worker(
    raw: Any, fleet: Any, connect: Any, redis_url: str
) -> None:
    urls = await fleet([raw("own", scope=None)], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as ann, connect(urls, "handshake") as bob:
        await offered(ann, "own__bump", times=4)
        said = [text(await ann.call_tool("own__bump")).split(":")[:2] for _ in range(6)]
        assert [count for _, count in said] == ["1", "2", "3", "4", "5", "6"]
        assert len({pid for pid, _ in said}) == 1
        together = await asyncio.gather(*(bob.call_tool("own__bump") for _ in range(8)))
        assert sorted(int(text(one).split(":")[1]) for one in together) == list(range(1, 9))
        assert len({text(one).split(":")[0] for one in (*together,)} | {said[0][0]}) == 2


async def test_what_a_child_says_and_asks_reaches_the_client_through_another_worker(
    handy_stdio: Any, fleet: Any, connect: Any, person: Any, redis_url: str
) -> None:
    urls = await fleet([Backend("handy", handy_stdio)], count=2, redis_url=redis_url)
    async with connect(urls, "handshake", person) as client:
        await offered(client, "handy__ask", times=4)
        expected = [((float(n), 3.0, f"step {n}"), f"at {n}") for n in (1, 2, 3)]
        for tag in ("a", "b", "c"):
            assert text(await client.call_tool("handy__ask", {"tag": tag})) == f"accept bob {tag} {tag}"
            person.heard.clear()
            await client.call_tool("handy__steps", {}, progress_callback=person.progress)
            assert person.heard == [item for pair in expected for item in pair]
        with pytest.raises(MCPError, match=r"Backend 'handy': it exited with 3: .*farewell"):
            await client.call_tool("handy__die")


@pytest.mark.parametrize("kind", ["stdio", "http"])
async def test_no_answer_and_no_memory_crosses_between_two_people(
    kind: str, raw: Any, handy_http: Any, fleet: Any, connect: Any, redis_url: str
) -> None:
    backend = raw("own", scope=None) if kind == "stdio" else Backend("own", handy_http("handshake"))
    urls = await fleet([backend], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as ann, connect(urls, "handshake") as bob:
        await offered(ann, "own__echo", times=4)

        async def speak(client: Client, name: str, count: int) -> list[str]:
            said = await asyncio.gather(*(client.call_tool("own__echo", {"text": f"{name}{n}"}) for n in range(count)))
            return [text(one) for one in said]

        rounds = [await asyncio.gather(speak(ann, "ann", 20), speak(bob, "bob", 20)) for _ in range(3)]
    for anns, bobs in rounds:
        assert [one.rpartition(":")[2] for one in anns] == [f"ann{n}" for n in range(20)]
        assert [one.rpartition(":")[2] for one in bobs] == [f"bob{n}" for n in range(20)]
    if kind == "stdio":
        children = [{one.split(":")[0] for said in side for one in said} for side in zip(*rounds, strict=True)]
        assert [len(pids) for pids in children] == [1, 1]
        assert children[0] != children[1]


async def test_a_client_is_told_once_that_its_child_forgot(
    raw: Any, fleet: Any, connect: Any, person: Any, redis_url: str
) -> None:
    urls = await fleet([raw("own", scope=None)], count=2, redis_url=redis_url)
    async with connect(urls, "handshake", person) as client:
        await offered(client, "own__bump", times=4)
        pid = int(text(await client.call_tool("own__bump")).split(":")[0])
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            fresh = await _served(client)
        assert text(fresh).split(":")[1] == "1"
        assert (fresh.meta or {})["switchboard/stateLost"] is True
        assert person.heard == ["Backend 'own' was started anew: what it remembered of this session is lost"]
        again = await client.call_tool("own__bump")
        assert "switchboard/stateLost" not in (again.meta or {})


async def test_all_workers_reach_one_connection_to_a_server_of_the_older_transport(
    handy: Any, serve: Any, fleet: Any, connect: Any, person: Any, redis_url: str
) -> None:
    opened = 0
    app = handy.server().sse_app()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        nonlocal opened
        opened += scope.get("path") == "/sse"
        await app(scope, receive, send)

    url = (await serve(counting)).replace("/mcp", "/sse")
    urls = await fleet([Backend("handy", Sse(url))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake", person) as client:
        await offered(client, "handy__ask", times=4)
        before = opened
        for tag in ("a", "b", "c"):
            assert text(await client.call_tool("handy__ask", {"tag": tag})) == f"accept bob {tag} {tag}"
            await client.call_tool("handy__echo", {"text": tag})
        assert opened == before + 1


async def test_all_workers_resume_one_session_at_an_http_backend(
    handy_http: Any, fleet: Any, connect: Any, person: Any, redis_url: str
) -> None:
    urls = await fleet([Backend("handy", handy_http("handshake"))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake", person) as ann, connect(urls, "handshake", person) as bob:
        await offered(ann, "handy__session", times=4)
        anns = {text(await ann.call_tool("handy__session")) for _ in range(4)}
        bobs = {text(one) for one in await asyncio.gather(*(bob.call_tool("handy__session") for _ in range(6)))}
        assert (len(anns), len(bobs), anns & bobs) == (1, 1, set())
        tags = [f"t{number}" for number in range(6)]
        answers = await asyncio.gather(*(ann.call_tool("handy__ask", {"tag": tag}) for tag in tags))
        assert [text(answer) for answer in answers] == [f"accept bob {tag} {tag}" for tag in tags]


async def test_a_session_that_an_http_backend_forgot_is_made_anew_and_the_client_told(
    handy_http: Any, fleet: Any, connect: Any, person: Any, redis_url: str
) -> None:
    transport = handy_http("handshake")
    urls = await fleet([Backend("handy", transport)], count=2, redis_url=redis_url)
    async with connect(urls, "handshake", person) as client:
        await offered(client, "handy__session", times=4)
        first = text(await client.call_tool("handy__session"))
        async with httpx2.AsyncClient() as http:
            gone = await http.delete(transport.urls[0], headers={"mcp-session-id": first})
            assert gone.status_code in (200, 204)
        fresh = await client.call_tool("handy__session")
        assert text(fresh) != first
        assert (fresh.meta or {})["switchboard/stateLost"] is True
        assert {text(await client.call_tool("handy__session")) for _ in range(4)} == {text(fresh)}


async def _served(client: Client) -> Any:
    """The first answer after a failure; a call that may have been sent is not repeated for the client."""
    while True:
        try:
            return await client.call_tool("own__bump")
        except MCPError as error:
            if not error.message.startswith("Backend 'own': "):
                raise


async def test_the_worker_that_has_a_child_is_killed_and_the_session_goes_on(
    raw: Any, connect: Any, person: Any, worker_processes: Any
) -> None:
    child = raw("own").transport
    async with worker_processes("command", child.command, *child.args) as workers:
        urls = list(workers)
        async with connect(urls, "handshake", person) as client:
            await offered(client, "own__bump", times=4)
            answers = [text(await client.call_tool("own__bump")).split(":") for _ in range(3)]
            assert [count for _, count, _ in answers] == ["1", "2", "3"]
            parent = _parent(int(answers[0][0]))
            held = next(url for url, worker in workers.items() if worker.pid == parent)
            workers[held].kill()
            await workers[held].wait()
            urls.remove(held)
            async with asyncio.timeout(60):
                fresh = await _served(client)
            assert text(fresh).split(":")[1] == "1"
            assert (fresh.meta or {})["switchboard/stateLost"] is True


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_call_for_the_child_of_another_worker_takes_three_commands_of_redis(
    raw: Any, fleet: Any, connect: Any, redis_url: str, commands: Any
) -> None:
    urls, calls = await fleet([raw("own", scope="shared")], count=2, redis_url=redis_url), 5
    taken: list[int] = []
    for url in urls:
        async with connect([url], "modern") as client:
            await offered(client, "own__bump")
            await client.call_tool("own__bump")
            async with commands() as seen:
                for _ in range(calls):
                    await client.call_tool("own__bump")
            taken.append(seen.count("PUBLISH"))
            if taken[-1]:
                assert seen.count("SET") <= calls + 2, "the worker that has the child notes that it began the call"
                assert seen.count("GET") <= 2, "the worker that has it is not looked for again"
    assert sorted(taken) == [0, 2 * calls], "one worker has the child, the other asks and is answered"
