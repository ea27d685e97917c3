"""Sessions at HTTP backends: made once, resumed by every worker, listened to by one, ended with the client's own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from mcp import Client

from switchboard.backends import Backend, Http, Patience
from switchboard.backends.transports import opening
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from tests.backends.conftest import Connect, Fleet, Open, Serve
from tools.fleet.workers import HASTE, offered
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

QUICK = Patience(start=20, call=10, stop=0.5)
ROOTS = '{"roots": [{"uri": "file:///home"}]}'


def told(result: Any) -> bool:
    return bool((result.meta or {}).get("switchboard/stateLost"))


async def until(true: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture
def stateful() -> Any:
    """The class of `servers/stateful.py`."""
    spec = importlib.util.spec_from_file_location("stateful", Path(__file__).parents[1] / "servers" / "stateful.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stateful"] = module
    spec.loader.exec_module(module)
    return module.Stateful


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[State]:
    """The shared state, to look into."""
    async with open_state(redis_url) as opened:
        yield replace(opened, contact=Contact(unbroken=True))  # as when Redis has answered for a while


def backend(*urls: str, **options: Any) -> Backend:
    return Backend("own", Http(urls, era="handshake"), **{"patience": QUICK, **options})


async def own(state: State) -> dict[str, str]:
    """Client's session → its session at the backend, as the workers know them."""
    keys = [key async for key in state.redis.scan_iter(match="mcp:line:*:upstream")]
    stored = {key.split("{")[1].split("}")[0]: await state.redis.get(key) for key in keys}
    return {sid: json.loads(one)["session"] for sid, one in stored.items() if one and one != "lost"}


async def test_one_worker_has_the_stream_of_a_session_and_questions_on_it_find_their_call_on_any(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful()
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__roots", times=4)
        assert [json.loads(text(await client.call_tool("own__roots"))) for _ in range(6)] == [json.loads(ROOTS)] * 6
        [sid] = (await own(state)).values()
        assert server.sessions[sid].streams == 1
        assert server.sessions[sid].calls == 6


@pytest.mark.parametrize("method", ["elicitation/create", "roots/list"])
async def test_a_question_on_the_stream_without_a_call_is_refused_unless_it_is_for_roots(
    method: str, stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful()
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__count", times=4)
        await client.call_tool("own__count")
        [sid] = (await own(state)).values()
        session = server.sessions[sid]
        session.answers["x"] = asyncio.get_running_loop().create_future()
        session.say({"id": "x", "method": method, "params": {}})
        async with asyncio.timeout(60):
            answer = await session.answers["x"]
        if method == "roots/list":
            assert answer["result"]["roots"] == [{"uri": "file:///home"}]
        else:
            assert "no call in flight" in answer["error"]["message"]


async def test_the_first_call_of_a_session_waits_until_its_stream_is_open(
    stateful: Any, serve: Serve, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "STREAM_READY_S", 15.0)
    server = stateful(opening=lambda: asyncio.sleep(0.3))  # a call that waits for nothing comes within that time
    async with open_gateway(backend(await serve(server.app))) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert text(await client.call_tool("own__streams")) == "1"


async def test_a_server_that_leaves_open_whether_it_has_such_a_stream_is_called_after_a_moment(
    stateful: Any, serve: Serve, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "STREAM_READY_S", 0.05)
    server = stateful(opening=asyncio.Event().wait)
    async with open_gateway(backend(await serve(server.app))) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert [text(await client.call_tool("own__streams")) for _ in range(2)] == ["0", "0"]


async def test_a_server_without_such_streams_is_asked_once_by_each_worker_and_serves(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, redis_url: str
) -> None:
    server = stateful(get=405)
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__count", times=4)
        assert [text(await client.call_tool("own__count")) for _ in range(4)] == ["1", "2", "3", "4"]


async def test_an_upstream_session_ends_with_the_clients_and_no_other_does(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful()
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url, timing=HASTE)
    async with connect(urls, "handshake") as carol:
        await offered(carol, "own__count", times=4)
        await carol.call_tool("own__count")
        [carols] = (await own(state)).values()
        async with connect(urls, "handshake") as bob:
            await bob.call_tool("own__count")
            bobs = {sid: session for sid, session in (await own(state)).items() if session != carols}
            async with connect(urls, "handshake") as ann:
                await ann.call_tool("own__count")
                anns = set((await own(state)).values()) - set(bobs.values()) - {carols}
            # Ann's client has said goodbye. Bob's session expires without a word.
            await state.redis.delete(*(f"session:{{{sid}}}" for sid in bobs))
            await until(lambda: anns | set(bobs.values()) <= set(server.ended))
            assert carols not in server.ended
            assert text(await carol.call_tool("own__count")) == "2"


async def test_an_upstream_session_that_nobody_uses_ends_and_the_client_is_told_once(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful()
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url, timing=HASTE)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__count", times=4)
        for _ in range(2):
            await client.call_tool("own__count")
        [sid] = (await own(state)).values()
        [registry] = [key async for key in state.redis.scan_iter(match="mcp:upstreams:*")]
        [member] = cast(list[str], await state.redis.zrange(registry, 0, -1))
        async with asyncio.timeout(60):
            while sid not in server.ended:
                await state.redis.zadd(registry, {member: 1.0}, xx=True)  # used last in 1970, whatever its users say
                await asyncio.sleep(0.05)
        again = [await client.call_tool("own__count") for _ in range(4)]
        assert [text(one) for one in again] == ["1", "2", "3", "4"]
        assert [told(one) for one in again] == [True, False, False, False]


async def test_a_session_that_the_backend_forgot_is_made_anew_once_for_all_workers(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful(get=405)
    urls = await fleet([backend(await serve(server.app))], count=2, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__count", times=4)
        for _ in range(2):
            await client.call_tool("own__count")
        [sid] = (await own(state)).values()
        del server.sessions[sid]
        again = [await client.call_tool("own__count") for _ in range(6)]
        assert [text(one) for one in again] == ["1", "2", "3", "4", "5", "6"]
        assert [told(one) for one in again].count(True) == 1
        assert len(await own(state)) == 1


async def test_a_worker_that_was_lost_while_it_opened_a_session_is_waited_for_no_longer_than_its_lease(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    server = stateful()
    urls = await fleet([backend(await serve(server.app))], count=1, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__count", times=4)
        await client.call_tool("own__count")
        [key] = [key async for key in state.redis.scan_iter(match="mcp:line:*:upstream")]
        await state.redis.delete(key)
        await state.redis.set(key.replace(":upstream", ":making"), "dead:1", px=1500)
        server.sessions.clear()
        assert text(await client.call_tool("own__count")) == "1"
        assert len(await own(state)) == 1


async def test_an_error_of_a_tool_is_not_taken_for_a_lost_session(
    stateful: Any, serve: Serve, fleet: Fleet, connect: Connect, redis_url: str
) -> None:
    server = stateful(get=404)
    urls = await fleet([backend(await serve(server.app))], count=1, redis_url=redis_url)
    async with connect(urls, "handshake") as client:
        await offered(client, "own__fail", times=4)
        for _ in range(2):
            with pytest.raises(Exception, match="no luck"):
                await client.call_tool("own__fail")
    assert server.called == ["fail", "fail"]


async def test_sessions_that_no_other_worker_can_know_are_ended_when_the_worker_leaves(
    stateful: Any, serve: Serve, open_gateway: Open
) -> None:
    server = stateful()
    async with (
        open_gateway(backend(await serve(server.app), scope="shared")) as opened,
        Client(opened.server) as client,
    ):
        await opened.discovered()
        await client.call_tool("own__count")
        assert server.made
        assert not server.ended
    assert sorted(server.ended) == sorted(server.made)


@pytest.mark.parametrize("unknown", [404, 400])
async def test_when_the_server_of_a_session_is_away_another_one_of_the_same_kind_serves(
    unknown: int, stateful: Any, serving: Any, fleet: Fleet, connect: Connect, state: State, redis_url: str
) -> None:
    async with AsyncExitStack() as stack:
        servers, stops, ports = [stateful(unknown), stateful(unknown)], [], []
        for server in servers:
            stops.append(await stack.enter_async_context(AsyncExitStack()))
            ports.append(await stops[-1].enter_async_context(serving(server.app)))
        urls = await fleet([backend(*(f"http://127.0.0.1:{port}/mcp" for port in ports))], count=2, redis_url=redis_url)
        async with connect(urls, "handshake") as client:
            await offered(client, "own__count", times=4)
            for expected in ("1", "2"):
                assert text(await client.call_tool("own__count")) == expected
            [key] = [key async for key in state.redis.scan_iter(match="mcp:line:*:upstream")]
            made_at = json.loads(str(await state.redis.get(key)))["url"]
            gone = next(index for index, port in enumerate(ports) if f":{port}/" in made_at)
            await stops[gone].aclose()
            again = [await client.call_tool("own__count") for _ in range(4)]
            assert [text(one) for one in again] == ["1", "2", "3", "4"]
            assert [told(one) for one in again].count(True) == 1


async def test_when_the_worker_with_the_stream_is_killed_another_one_goes_on_after_the_last_event(
    stateful: Any, serve: Serve, connect: Connect, state: State, worker_processes: Any
) -> None:
    server = stateful()
    async with worker_processes("url", await serve(server.app)) as workers:
        urls = list(workers)
        async with connect(urls, "handshake") as client:
            await offered(client, "own__roots", times=4)
            for _ in range(2):
                assert json.loads(text(await client.call_tool("own__roots"))) == json.loads(ROOTS)
            await asyncio.gather(*(client.call_tool("own__count") for _ in range(4)))  # both workers have a line now
            [sid] = (await own(state)).values()
            [lease] = [key async for key in state.redis.scan_iter(match="mcp:line:*:listening")]
            holder = str(await state.redis.get(lease)).partition(":")[0]
            started = {url: (await _worker(url)) for url in urls}
            killed = next(url for url in urls if started[url] == holder)
            workers[killed].kill()
            await workers[killed].wait()
            urls.remove(killed)
            server.sessions[sid].say({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
            await until(lambda: "2" in server.sessions[sid].resumed)
            assert json.loads(text(await client.call_tool("own__roots"))) == json.loads(ROOTS)
            assert (await own(state)).popitem()[1] == sid


async def _worker(url: str) -> str:
    """The id of the worker at a URL."""
    async with httpx2.AsyncClient() as http:
        return str((await http.get(url.replace("/mcp", "/readyz"))).json()["worker"])
