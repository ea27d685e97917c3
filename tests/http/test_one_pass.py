"""Each request twice, through the one pass and through the table of middleware: nobody can tell which it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from switchboard.app import build
from switchboard.http import mcp
from switchboard.http.jsonrpc import BEGUN
from switchboard.identity import current
from switchboard.settings import load_settings
from tests.http.both_ways import (
    BASE,
    CALL,
    IN_SESSION,
    INITIALIZE,
    META,
    MODERN,
    NOTIFICATION,
    OLD_CALL,
    Asked,
    World,
    even,
    message,
    opened,
)


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with opened(redis_url=redis_url) as made:
        yield made


ORDINARY: dict[str, tuple[Asked, int]] = {
    "a call": (Asked(), 200),
    "a list": (Asked(message("tools/list", {"_meta": META}), ((b"mcp-protocol-version", b"2026-07-28"),)), 400),
    "a call of no tool": (Asked(CALL.replace(b"echo", b"nope"), ((*MODERN[:2], (b"mcp-name", b"nope")))), 400),
    "an initialize": (Asked(INITIALIZE, ()), 200),
    "an initialize without its parts": (Asked(message("initialize"), ()), 400),
    "a call in a session": (Asked(OLD_CALL, IN_SESSION), 200),
    "a notification": (Asked(NOTIFICATION, IN_SESSION), 202),
    "the end of a session": (Asked(b"", IN_SESSION, "DELETE"), 204),
    "a stream": (Asked(b"", (*IN_SESSION, (b"accept", b"text/event-stream")), "GET"), 200),
    "a stream that is not accepted": (Asked(b"", (*IN_SESSION, (b"accept", b"text/html")), "GET"), 406),
    "a batch": (Asked(b"[" + OLD_CALL + b"]", IN_SESSION), 400),
    "no session": (Asked(OLD_CALL, IN_SESSION[1:]), 400),
    "an unknown session": (Asked(OLD_CALL, ((b"mcp-session-id", b"0" * 48),)), 404),
    "what is no session": (Asked(OLD_CALL, ((b"mcp-session-id", b"\xff;"),)), 404),
    "another's session": (Asked(OLD_CALL, IN_SESSION, token=b"Bearer OTHER"), 404),
    "another version": (Asked(OLD_CALL, (IN_SESSION[0], (b"mcp-protocol-version", b"2025-06-18"))), 400),
    "no JSON": (Asked(b"{", ()), 400),
    "another type": (Asked(CALL, (*MODERN, (b"content-type", b"text/plain"))), 415),
    "another method": (Asked(method="PUT"), 405),
    "a method of its own": (Asked(method="X-ÿ"), 405),
    "no token": (Asked(token=None), 401),
    "an unknown token": (Asked(token=b"Bearer " + b"x" * 40), 401),
    "an empty token": (Asked(token=b"Bearer "), 401),
    "a malformed token": (Asked(token=b"Bearer a b"), 401),
    "a long token": (Asked(token=b"Bearer " + b"x" * 9000), 401),
    "a token in bytes": (Asked(token=b"Bearer \xff\xfe"), 401),
    "a token of another kind": (Asked(token=b"Basic TOKEN"), 401),
    "a kind in other letters": (Asked(token=b"bEARER  TOKEN "), 200),
    "a token in the query": (Asked(query=b"a=b&access_token=x"), 400),
    "a query like a token": (Asked(query=b"not_access_token=x"), 200),
    "a token with too few scopes": (Asked(token=b"Bearer NARROW"), 403),
    "a foreign host": (Asked(host=b"evil.example"), 421),
    "a long host": (Asked(host=b"a" * 5000), 421),
    "no name for a host": (Asked(host=b"local host"), 421),
    "an empty host": (Asked(host=b""), 421),
    "a host in other letters": (Asked(host=b"LOCALHOST."), 200),
    "a foreign host and no token": (Asked(host=b"evil.example", token=None), 421),
    "a foreign host and no such path": (Asked(host=b"evil.example", path="/nope"), 421),
    "no such path": (Asked(path="/nope"), 404),
    "no such path, with a slash": (Asked(path="/nope/"), 404),
    "a path below": (Asked(path="/mcp/x"), 404),
    "a path with a slash": (Asked(path="/mcp/"), 307),
    "a path with slashes": (Asked(path="/mcp//"), 307),
    "a path in other letters": (Asked(path="/MCP"), 404),
    "a path with a line feed": (Asked(path="/mcp\n", token=None), 401),
    "another route": (Asked(b"", (), "GET", "/.well-known/oauth-protected-resource/mcp", token=None), 200),
    "another route's method": (Asked(b"", (), "PUT", "/.well-known/oauth-authorization-server", token=None), 405),
    "a route with a parameter": (Asked(b"", (), "GET", "/register/nobody", token=None), 401),
    "a page": (Asked(b"", ((b"accept", b"text/html"),), "GET", "/authorize", token=None), 400),
    "no such preset": (Asked(query=b"preset=nope"), 404),
    "two presets": (Asked(query=b"preset=a&preset=b"), 404),
    "tags": (Asked(query=b"tags=nope"), 400),
    "its own id": (Asked(headers=(*MODERN, (b"x-request-id", b"trace-1.a_B"))), 200),
    "an id that is none": (Asked(headers=(*MODERN, (b"x-request-id", b"a b"))), 200),
    "nobody's address": (Asked(client=None), 200),
    "no address": (Asked(client=("unix", 0)), 200),
    "an address of IPv6": (Asked(client=("2001:db8::1", 0)), 200),
    "headers of a proxy that is none of ours": (Asked(headers=(*MODERN, (b"x-forwarded-for", b"192.0.2.1"))), 200),
}
ODD: dict[str, tuple[Asked, int]] = {
    "an allowed origin": (Asked(headers=(*MODERN, (b"origin", BASE.encode()))), 200),
    "a foreign origin": (Asked(headers=(*MODERN, (b"origin", b"https://evil.example"))), 403),
    "a preflight": (
        Asked(b"", ((b"origin", BASE.encode()), (b"access-control-request-method", b"POST")), "OPTIONS", token=None),
        204,
    ),
    "two origins": (Asked(headers=((b"origin", BASE.encode()), (b"origin", BASE.encode()))), 400),
    "two tokens": (Asked(headers=(*MODERN, (b"authorization", b"Bearer TOKEN"))), 400),
    "two hosts": (Asked(headers=(*MODERN, (b"host", b"evil.example"))), 400),
    "no host": (Asked(host=None), 400),
    "two ids": (Asked(headers=(*MODERN, (b"x-request-id", b"a b"), (b"x-request-id", b"second"))), 200),
    "two of another header": (Asked(headers=(*MODERN, (b"x-a", b"1"), (b"x-a", b"2"))), 200),
    "two names": (Asked(headers=(*MODERN, (b"mcp-name", b"whoami"))), 400),
    "a body too long": (Asked(length=b"99999999"), 413),
    "a body too long by far": (Asked(length=b"9" * 30), 413),
    "a body too long for a foreign host": (Asked(length=b"99999999", host=b"evil.example"), 421),
    "a length that is none": (Asked(length=b"-1"), 200),
    "a body in chunks": (Asked(headers=(*MODERN, (b"transfer-encoding", b"chunked"))), 200),
    "a probe": (Asked(b"", (), "GET", "/healthz", token=None), 200),
    "a probe by another name": (Asked(b"", (), "GET", "/healthz", token=None, host=b"evil.example"), 200),
    "a mounted application": (Asked(path="/x/mcp", root="/x"), 200),
}
CASES = {name: (asked, status, True) for name, (asked, status) in ORDINARY.items()}
CASES |= {name: (asked, status, False) for name, (asked, status) in ODD.items()}
IN_ONE = {name for name, (asked, _) in ORDINARY.items() if any(b"SESSION" in value for _, value in asked.headers)}


async def test_an_ordinary_request_is_answered_and_logged_as_by_the_table_and_does_not_pass_through_it(
    world: World,
) -> None:
    differ, wrong, elsewhere = {}, {}, []
    for name, (asked, status, ordinary) in CASES.items():
        one, table, short = await world.both(asked, fresh=name in IN_ONE)
        if one != table:
            differ[name] = one, table
        if one.status != status:
            wrong[name] = one.status, one.body
        if short != ordinary:
            elsewhere.append(name)
    assert differ == {}
    assert wrong == {}
    assert elsewhere == []


@pytest.mark.parametrize("draining", [False, True])
async def test_an_answer_that_is_sent_at_once_is_the_same(world: World, draining: bool) -> None:
    world.app._last_requests.draining = draining
    differ, given = {}, set()
    for name, (asked, _) in ORDINARY.items():
        if name not in IN_ONE or asked.body == OLD_CALL:
            await world.open_session()
            at_once = await world.send(world.app, asked, at_once=True)
            await world.open_session()
            by_messages = await world.send(world.app, asked)
            given |= {name} if at_once.at_once else set()
            if at_once != by_messages:
                differ[name] = at_once, by_messages
    assert differ == {}
    assert given > {"a call", "a call in a session", "no token", "a foreign host"}


async def test_without_authorization_everything_is_answered_alike_too(redis_url: str) -> None:
    async with opened(redis_url=redis_url, auth_mode="none") as world:
        for name in ("a call", "an initialize", "no such path", "a foreign host", "two tokens", "no such preset"):
            one, table, _ = await world.both(CASES[name][0])
            assert one == table, name


async def test_what_handlers_find_in_the_scope_is_what_the_table_puts_there(world: World) -> None:
    seen: list[tuple[Scope, Any]] = []

    async def spy(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((dict(scope, state=dict(scope["state"])), (current().principal, get_contextvars())))
        raise RuntimeError("seen")

    await world.open_session()
    world.front._protocol = replace(world.front._protocol, app=spy)
    gate: Any = world.front._protocol.gate
    gate.app.app.app = spy
    one, table, short = await world.both(Asked(headers=((b"x-request-id", b"same"), *IN_SESSION)))
    assert short
    assert one == table
    assert one.status == 500
    (first, where), (second, there) = seen
    assert set(first.pop("state")) - {BEGUN} == set(second.pop("state"))
    second.pop("starlette.exception_handlers")
    for scope in (first, second):
        scope["headers"] = even(scope["headers"])
    assert first == second
    assert where == there


async def test_the_record_of_a_session_is_asked_for_once_before_the_verdict_on_its_token_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    gate: Any = world.front._protocol.gate
    verify, begin = gate._verifier.verify, world.front._protocol.begin

    def verifying(token: str) -> Any:
        order.append("token")
        verdict = verify(token)

        async def waited() -> Any:
            found = await verdict
            order.append("verdict")
            return found

        return waited()

    def beginning(sid: str) -> Any:
        order.append("record")
        return begin(sid)

    await world.open_session()
    records = world.app.rooms.handshake.records
    monkeypatch.setattr(records, "begin", lambda _sid: pytest.fail("the record was asked for once more"))
    gate._verifier.verify = verifying
    world.front._protocol = replace(world.front._protocol, begin=beginning)
    assert (await world.send(world.front, Asked(OLD_CALL, IN_SESSION))).status == 200
    assert order[:3] == ["token", "record", "verdict"]
    order.clear()
    assert (await world.send(world.front, Asked(CALL, (*MODERN, IN_SESSION[0])))).status == 200
    assert "record" not in order, "a modern request has no session"


async def test_a_session_that_ended_while_a_body_was_waited_for_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "AT_ONCE_S", 0)
    await world.open_session()
    waiting, ended, sent = asyncio.Event(), asyncio.Event(), list[Message]()

    async def receive() -> Message:
        waiting.set()
        await ended.wait()
        return {"type": "http.request", "body": OLD_CALL, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    serving = asyncio.create_task(world.front(world.scope(Asked(OLD_CALL, IN_SESSION)), receive, send))
    await waiting.wait()
    assert (await world.send(world.front, Asked(b"", IN_SESSION, "DELETE"))).status == 204
    ended.set()
    await serving
    assert sent[0]["status"] == 404


async def test_an_overloaded_worker_says_so_on_either_way(world: World) -> None:
    world.front._load.overload = "there is too much"
    one, table, short = await world.both(Asked())
    assert one == table
    assert (one.status, short) == (503, False)


@pytest.mark.parametrize("way", ["one pass", "table"])
@pytest.mark.parametrize("asked", [Asked(), Asked(token=None), Asked(path="/nope"), Asked(token=b"Bearer guess-guess")])
async def test_a_request_is_counted_once_for_its_address_and_once_for_its_principal(
    redis_url: str, way: str, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(redis_url=redis_url, rate_limit=1000) as world:
        await world.send(world.front, Asked())  # both have permits at hand now
        permits, held = world.front._address("203.0.113.7").permits, {}

        def left() -> dict[str, int]:
            return {quota: each.permits for (quota, _), each in permits._held.items()}

        held = left()
        await world.send(world.front if way == "one pass" else world.front.table, asked)
        spent = {quota: held[quota] - now for quota, now in left().items()}
        assert spent == {"address": 1, "mcp": 1 if asked == Asked() else 0}


@pytest.mark.parametrize(
    ("asked", "often", "quota"),
    [
        (Asked(), 3, "mcp"),
        (Asked(token=b"Bearer guess-guess"), 12, "address"),
        (Asked(path="/nope"), 12, "address"),
    ],
)
async def test_who_asks_too_often_is_refused_on_either_way(
    redis_url: str, asked: Asked, often: int, quota: str
) -> None:
    async with opened(redis_url=redis_url, rate_limit=1) as world:
        statuses: list[int] = []
        while statuses[-2:] != [429, 429]:  # of what comes back in time, one is spent each round
            for _ in range(often):
                await world.send(world.front, asked)
            one, table, short = await world.both(asked)
            statuses += one.status, table.status
    assert short
    assert {name for name, _ in one.headers} == {name for name, _ in table.headers}
    assert one.headers[:2] == table.headers[:2]
    assert dict(one.headers)[b"retry-after"].isdigit()
    assert (one.body, one.logged) == (table.body, table.logged)
    assert [line["quota"] for line in one.logged if line["event"] == "rate_limit.exceeded"] == [quota]


async def test_whatever_fails_on_the_way_in_is_answered_by_the_same_page(world: World) -> None:
    class Broken:
        def verify(self, token: str) -> Any:
            raise RuntimeError("broken")

    gate: Any = world.front._protocol.gate
    gate._verifier = Broken()
    one, table, short = await world.both(Asked())
    assert one == table
    assert (one.status, one.raised, short) == (500, "RuntimeError('broken')", True)


async def test_a_revoked_token_is_refused_by_the_next_request(world: World) -> None:
    assert (await world.send(world.front, Asked())).status == 200
    state = world.app.rooms.state
    await state.redis.flushdb()
    assert (await world.send(world.front, Asked())).status == 401


async def test_behind_a_trusted_proxy_requests_are_served_in_one_pass_as_well(redis_url: str) -> None:
    settings = load_settings(
        None,
        auth_mode="none",
        base_uri=BASE,
        secret_key="0" * 48,
        redis_url=redis_url,
        trusted_proxies="203.0.113.0/24",
    )
    app = build(settings)
    async with app._run(app._lifespan):
        proxies: Any = app._served
        world = World(app, settings, proxies.app)
        asked = Asked(headers=(*MODERN, (b"x-forwarded-for", b"192.0.2.9")), token=None)
        told = await world.send(proxies, asked)
    assert told.status == 200
    assert told.logged[-1]["client"] == "192.0.2.9"


NAMES = (b"origin", b"x-request-id", b"mcp-protocol-version", b"mcp-session-id", b"accept", b"mcp-name", b"x-other")
VALUES = (
    *(b"", b"a", b"2026-07-28", b"2025-11-25", b"1999-01-01", b"0" * 48, b"echo", b"*/*", b"text/event-stream"),
    *(BASE.encode(), b"null", b"\xff", b"application/json, text/event-stream"),
)
TOKENS = (
    b"Bearer TOKEN",
    b"Bearer TOKEN",
    b"Bearer NARROW",
    b"Bearer x",
    b"Bearer",
    b"Basic x",
    b"bearer  TOKEN",
    None,
)
REQUESTS = st.builds(
    Asked,
    body=st.sampled_from((CALL, OLD_CALL, INITIALIZE, NOTIFICATION, b"", b"{", b"[]", b"null", b'"\xff"')),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4).map(
        lambda some: (*MODERN[1:2], *some)
    ),
    method=st.sampled_from(("POST", "POST", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH")),
    path=st.sampled_from(("/mcp",) * 6 + ("/mcp/", "/mcp\n", "/", "", "/token", "/register/x", "/register/", "//mcp")),
    query=st.sampled_from((b"",) * 4 + (b"preset=x", b"tags=a,!b", b"access_token=x", b"%61ccess_token=x", b"&&=")),
    token=st.sampled_from(TOKENS),
    host=st.sampled_from((b"localhost:3232",) * 5 + (b"127.0.0.1", b"[::1]:80", b"evil", b"localhost:x", b"", None)),
    length=st.sampled_from((None, None, None, b"0", b"4194304", b"4194305", b"+1", "²".encode("latin-1"))),
)


def test_whatever_is_sent_both_ways_answer_alike(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        opening = opened(redis_url=redis_url)
        world = runner.run(opening.__aenter__())
        seen = {True: 0, False: 0}

        @settings(max_examples=400)
        @given(REQUESTS)
        def alike(asked: Asked) -> None:
            one, table, short = runner.run(world.both(asked))
            assert one == table
            seen[short] += 1

        try:
            alike()
            assert min(seen.values()) > 20
        finally:
            runner.run(opening.__aexit__(None, None, None))
