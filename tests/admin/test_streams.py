"""What clients hold open: listed and ended through another worker than the one that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio

from switchboard.sessions.streams.stream_list import StreamList
from tests.admin.conftest import Fleet
from tests.sessions.conftest import Workers
from tests.sessions.test_http_sse import connected
from tests.sessions.test_modern import headers, heard, listening, message
from tests.sessions.test_websocket import closed, opened
from tools.messages import call, notification

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG: Final = {"duration": 60, "steps": 100}
CANCEL: Final = notification("notifications/cancelled", {"requestId": 1})

Ended = Callable[[], Any]
"""Waits until the client is told that its stream is over."""


@pytest_asyncio.fixture(loop_scope="module")
async def clients(shared_fleet: Fleet) -> AsyncIterator[Workers]:
    """Clients of the fleet's two workers."""
    state = shared_fleet.workers[0].app.rooms.state
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        yield Workers(list(shared_fleet.workers), http, state)


@asynccontextmanager
async def get(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    session = await clients.open()
    async with session.listen(clients.a) as events:
        await events.next()
        yield session.id, events.rest


@asynccontextmanager
async def reply(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    session = await clients.open()
    async with session.stream(clients.a, call("longRunningOperation", LONG, progressToken=1)) as events:
        await events.message()
        yield session.id, events.rest
        await session.post(clients.b, CANCEL)


@asynccontextmanager
async def modern_reply(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    sent = message("tools/call", {"name": "longRunningOperation", "arguments": LONG}, progressToken=1)
    async with clients.http.stream("POST", clients.a.url, json=sent, headers=headers(sent)) as response:
        lines = response.aiter_lines()
        await heard(lines)

        async def rest() -> None:
            async with asyncio.timeout(60):
                async for _ in lines:
                    pass

        yield "", rest


@asynccontextmanager
async def listen(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    async with listening(clients, clients.a, {"toolsListChanged": True}) as messages:
        await heard(messages)
        yield "", lambda: heard(messages)


@asynccontextmanager
async def sse(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    async with connected(clients) as old:

        async def rest() -> None:
            async with asyncio.timeout(60):
                async for _ in old.events:
                    pass

        yield old.sid, rest


@asynccontextmanager
async def websocket(clients: Workers) -> AsyncIterator[tuple[str, Ended]]:
    async with opened(clients.a) as socket:
        yield "any", lambda: closed(socket)


Opening = Callable[[Workers], AbstractAsyncContextManager[tuple[str, Ended]]]


@pytest.mark.parametrize(
    ("opening", "kind", "era"),
    [
        (get, "get", "handshake"),
        (reply, "reply", "handshake"),
        (sse, "sse", "handshake"),
        (websocket, "websocket", "handshake"),
        (listen, "listen", "modern"),
        (modern_reply, "reply", "modern"),
    ],
)
async def test_a_stream_is_listed_and_ended_through_another_worker(
    shared_fleet: Fleet, clients: Workers, opening: Opening, kind: str, era: str
) -> None:
    async with opening(clients) as (session, ended):
        page = (await shared_fleet.b.get("/streams")).json()
        (found,) = page["items"]
        assert (found["kind"], found["era"], found["worker"]) == (kind, era, shared_fleet.id(0))
        assert (found["subject"], page["total"], page["silent"]) == ("anonymous", 1, [])
        assert bool(found["session"]) == (era == "handshake")
        assert session in ("any", found["session"])
        assert (await shared_fleet.b.delete(f"/streams/{found['id']}")).status_code == 204
        await ended()
    assert (await shared_fleet.b.get("/streams")).json()["items"] == []
    gone = await shared_fleet.a.delete(f"/streams/{found['id']}")
    assert (gone.status_code, gone.json()["detail"]) == (404, f"there is no stream {found['id']!r}")


async def test_a_reply_whose_stream_was_ended_goes_on_and_is_resumed_as_a_stream_elsewhere(
    shared_fleet: Fleet, clients: Workers
) -> None:
    session = await clients.open()
    work = call("longRunningOperation", LONG, progressToken=1)
    async with session.stream(clients.a, work) as events:
        last = await events.message()
        (found,) = (await shared_fleet.b.get("/streams")).json()["items"]
        await shared_fleet.b.delete(f"/streams/{found['id']}")
        assert [each.message["method"] for each in await events.rest()] == []
    async with session.listen(clients.b, last.id) as events:
        assert (await events.message()).message["params"]["progress"] > 1
        (resumed,) = (await shared_fleet.a.get("/streams", params={"session": session.id})).json()["items"]
        assert (resumed["kind"], resumed["worker"]) == ("reply", shared_fleet.id(1))
        await session.post(clients.b, CANCEL)


async def test_streams_are_told_in_pages_and_by_worker_session_and_person(
    shared_fleet: Fleet, clients: Workers
) -> None:
    sessions = [await clients.open() for _ in range(3)]
    a, b = shared_fleet.id(0), shared_fleet.id(1)
    async with (
        sessions[0].listen(clients.a) as first,
        sessions[1].listen(clients.b) as second,
        sessions[2].listen(clients.a) as third,
    ):
        for each in (first, second, third):
            await each.next()
        seen: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            page = (await shared_fleet.a.get("/streams", params={"limit": 1, "cursor": cursor})).json()
            assert (len(page["items"]), page["total"]) == (1, 3)
            seen += page["items"]
            cursor = page["next_cursor"]
        assert [each["id"] for each in seen] == sorted({each["id"] for each in seen})
        assert {each["session"] for each in seen} == {each.id for each in sessions}

        async def found(**wanted: str) -> set[str]:
            page = (await shared_fleet.b.get("/streams", params=wanted)).json()
            assert page["total"] == len(page["items"])
            return {each["session"] for each in page["items"]}

        assert await found(worker=a) == {sessions[0].id, sessions[2].id}
        assert await found(worker=b) == await found(session=sessions[1].id) == {sessions[1].id}
        assert len(await found(subject="anonymous")) == 3
        assert await found(subject="anon") == set()


async def test_a_worker_that_does_not_answer_is_named_beside_the_streams_of_the_others(
    fleet: Fleet, clients: Workers
) -> None:
    state = fleet.workers[0].app.rooms.state
    await state.redis.hset(state.keys.worker("wdead0000"), mapping={"version": "0", "started": "1"})
    await state.redis.expire(state.keys.worker("wdead0000"), 20)
    theirs = Workers(list(fleet.workers), clients.http, state)
    session = await theirs.open()
    async with session.listen(theirs.b) as events:
        await events.next()
        answers = await asyncio.gather(
            fleet.a.get("/streams"),
            fleet.a.get("/streams", params={"worker": "wdead0000"}),
            fleet.a.delete("/streams/wdead0000.000000000001"),
        )
    (page, only), refused = (each.json() for each in answers[:2]), answers[2]
    assert (page["silent"], [each["session"] for each in page["items"]]) == (["wdead0000"], [session.id])
    assert only["silent"] == ["wdead0000"]
    assert refused.status_code == 503
    assert "worker wdead0000, which holds the stream, did not answer" in refused.json()["detail"]
    absent = await fleet.a.get("/streams", params={"worker": "w00000000"})
    assert (absent.status_code, absent.json()["detail"]) == (404, "there is no worker 'w00000000'")


@pytest.mark.parametrize("stream", ["x", "wnone.1", "%00.1"])
async def test_what_is_no_stream_cannot_be_ended(shared_fleet: Fleet, stream: str) -> None:
    assert (await shared_fleet.a.delete(f"/streams/{stream}")).status_code == 404
    mine = f"{shared_fleet.id(0)}.{stream}"
    assert (await shared_fleet.b.delete(f"/streams/{mine}")).status_code == 404


async def test_a_page_begins_after_the_cursor_whichever_worker_that_was_of() -> None:
    here = StreamList("wb", lambda: 1.0)
    removed = here.add("get", "handshake", '["", "ann", ""]', "s1", lambda: None)
    here.add("listen", "modern", '["", "bob", ""]', "", lambda: None)

    def after(stream: str) -> list[str]:
        return [each["subject"] for each in here.answer({"after": stream})["items"]]

    (first, _) = here.answer({})["items"]
    assert after("wa.000000000009") == ["ann", "bob"]
    assert after(first["id"]) == ["bob"]
    assert after("wc.000000000001") == []
    removed()
    assert after("") == ["bob"]
