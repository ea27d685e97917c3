"""The fast path answers as the SDK's way does: every request is sent on both, to two workers of one fleet."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchboard.http import jsonrpc, mcp
from switchboard.sessions import service
from tests.http.odd_tools import PLAIN
from tests.sessions.conftest import Worker, serving
from tools.fleet.workers import installed
from tools.messages import ACCEPT, call, envelope, initialize, modern_headers, notification, request
from tools.messages import modern as as_modern

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
FAST_VERSIONS = VERSIONS[2:]
ARGUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"n": 3},
    {"n": "3"},
    {"n": 2**70},
    {"n": None},
    {"text": "hé\u2028\x00"},
    {"text": 1},
    {"value": "[1,2]"},
    {"value": 2**64},
    {"value": 1.0},
    {"value": -0.0},
    {"value": {"a": [None, 1e300]}},
    {"point": {"x": 1}},
    {"point": {"x": "z"}},
    {"point": '{"x": 1}'},
    {"code": -32602},
    {"code": -32601},
)

Headers = dict[str, str]
Sent = tuple[bytes, Headers | list[tuple[str, str]]]


@dataclass
class Ways:
    """Two workers on one Redis: one with the fast path, one without; and a session of each handshake version."""

    fast: Worker
    slow: Worker
    sessions: Mapping[str, str]

    @property
    def short(self) -> int:
        return self.fast.app.rooms.fast_path.short

    async def both(self, sent: Sent) -> tuple[Any, Any]:
        """What each answers: status, headers and JSON, but for what is told apart by chance."""
        body, headers = sent
        return await self._answer(self.fast, body, headers), await self._answer(self.slow, body, headers)

    async def _answer(self, worker: Worker, body: bytes, headers: Any) -> Any:
        async with _client(worker) as http:
            answer = await http.post("/mcp", content=body, headers=headers)
        shown = sorted(
            (name, value)
            for name, value in answer.headers.items()
            if name not in {"x-request-id", "content-length", "date"}
        )
        try:
            said: Any = answer.json()
        except ValueError:
            said = answer.text
        return answer.status_code, shown, json.dumps(_without_state(said), sort_keys=True)

    def modern(self, message: Any, change: Mapping[str, str | None] | None = None, name: str | None = None) -> Sent:
        """A message as a modern client sends it; a header that is changed to None is left out."""
        method = message.get("method") if isinstance(message, dict) else None
        named = request(
            method if isinstance(method, str) and method.isascii() and method.isprintable() else "tools/call"
        )
        headers = {**modern_headers(named), "content-type": "application/json"}
        headers["mcp-name"] = name if name is not None else _name(message)
        return _written(message), _changed(headers, change or {})

    def handshake(self, version: str, message: Any, change: Mapping[str, str | None] | None = None) -> Sent:
        """A message as a client of such a session sends it."""
        kind = {"content-type": "application/json", "mcp-protocol-version": version}
        headers = {**ACCEPT, **kind, "mcp-session-id": self.sessions[version]}
        return _written(message), _changed(headers, change or {})


def _without_state(said: Any) -> Any:
    if isinstance(said, dict) and isinstance(result := said.get("result"), dict) and "requestState" in result:
        return {**said, "result": {**result, "requestState": "sealed"}}
    return said


def _name(message: Any) -> str:
    params = message.get("params") if isinstance(message, dict) else None
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) and name.isascii() and name.isprintable() else "x"


def _written(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def _changed(headers: Headers, change: Mapping[str, str | None]) -> Headers:
    return {name: value for name, value in {**headers, **change}.items() if value is not None}


@asynccontextmanager
async def two_ways(redis_url: str, config: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers of one fleet: one with the fast path, one without."""
    async with AsyncExitStack() as stack:
        # On a busy machine a reply that takes a second becomes a stream on one way, and not on the other.
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(service, "COMMIT_WINDOW_S", 60.0)
        worker = partial(serving, redis_url, config_file=config)
        fast = await stack.enter_async_context(worker(fast_path="on"))
        yield fast, await stack.enter_async_context(worker(fast_path="off"))


@asynccontextmanager
async def opened(redis_url: str, config: Path) -> AsyncIterator[Ways]:
    async with two_ways(redis_url, config) as (fast, slow):
        sessions = {version: await _session(fast, version) for version in VERSIONS}
        yield Ways(fast, slow, sessions)


def _client(worker: Worker) -> httpx2.AsyncClient:
    """A client that calls the worker's application itself: sockets would take most of the time."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(worker.app), base_url=f"http://localhost:{worker.port}", timeout=30
    )


async def _session(worker: Worker, version: str) -> str:
    async with _client(worker) as http:
        answer = await http.post("/mcp", json=initialize(version), headers=ACCEPT)
        sid: str = answer.headers["mcp-session-id"]
        headers = {**ACCEPT, "mcp-session-id": sid, "mcp-protocol-version": version}
        await http.post("/mcp", json=notification("notifications/initialized"), headers=headers)
    return sid


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the odd tools, under their own names."""
    return configured(tmp_path, monkeypatch, "odd", "tests.http.odd_tools:plugin")


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, factory: str) -> Path:
    """A configuration with a plugin's tools under their own names, beside the demo's."""
    path = installed(folder, name, factory)["PYTHONPATH"].partition(":")[0]
    monkeypatch.syspath_prepend(path)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"plugins": {"everything": {"enabled": True}, name: {"prefix": "never"}}}))
    return file


@pytest.fixture(autouse=True)
def few_words() -> Iterator[None]:
    """Tracebacks are not drawn: tools that crash do so some hundred times."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def ways(redis_url: str, config: Path) -> AsyncIterator[Ways]:
    async with opened(redis_url, config) as ways:
        yield ways


async def differing(ways: Ways, cases: Iterable[tuple[str, Sent]]) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for name, sent in cases:
        fast, slow = await ways.both(sent)
        if fast != slow:
            found[name] = fast, slow
    return found


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    for tool in PLAIN:
        for arguments in ARGUMENTS:
            yield f"{tool.__name__} {arguments}", call(tool.__name__, arguments)


async def test_every_plain_tool_answers_alike_to_whatever_it_is_called_with(ways: Ways) -> None:
    table = list(calls())
    modern = [(name, ways.modern(as_modern(message))) for name, message in table]
    assert await differing(ways, modern) == {}
    assert ways.short == len(table), "one of them went the SDK's way"
    for version in VERSIONS:
        before, part = ways.short, table[VERSIONS.index(version) :: len(VERSIONS)]
        cases = [(f"{version} {name}", ways.handshake(version, message)) for name, message in part]
        assert await differing(ways, cases) == {}
        assert ways.short - before == (len(part) if version in FAST_VERSIONS else 0)


def odd_messages() -> Iterator[tuple[str, Any]]:
    """Requests that clients should not send, and some that they may."""
    good = call("a_text", {"text": "a"})
    params = good["params"]
    ids: tuple[Any, ...] = (True, None, 1.5, 0, -1, 2**70, "x", "é", "7", [1], {}, "y" * 300, "")
    for id in ids:
        yield f"id {id!r:.20}", {**good, "id": id}
    yield "no id", {name: value for name, value in good.items() if name != "id"}
    yield "a member more", {**good, "zz": 1}
    yield "jsonrpc 1.0", {**good, "jsonrpc": "1.0"}
    yield "params a list", {**good, "params": [1]}
    yield "no params", {name: value for name, value in good.items() if name != "params"}
    changed: dict[str, Any] = {
        "arguments": None,
        "name": 3,
        "requestState": "x",
        "inputResponses": {},
        "task": {},
        "zz": 1,
        "_meta": None,
    }
    for name, value in changed.items():
        yield f"{name} {value}", {**good, "params": {**params, name: value}}
    for arguments in ([1], "x", {"text": "a", "zz": 1}, {"zz": 1}, {"text": ["a"]}):
        yield f"arguments {arguments}", {**good, "params": {**params, "arguments": arguments}}
    yield "no arguments", {**good, "params": {"name": "nothing"}}
    for tool in ("nope", "", "more_input", "with_context", "echo", "add", "a" * 300):
        yield f"tool {tool:.20}", call(tool, {"message": "m"})
    yield "a method that is none", {**good, "method": "tools/calls"}


METAS: tuple[dict[str, Any], ...] = (
    {"progressToken": 7},
    {"progressToken": "t"},
    {"progressToken": {}},
    {"progressToken": True},
    {"progressToken": None},
    {"progressToken": 1.0},
    {"progressToken": "p" * 300},
    {"traceparent": "00-1-2-01"},
    {"zz": 1},
    {"io.modelcontextprotocol/clientCapabilities": []},
    {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}},
    {"io.modelcontextprotocol/clientInfo": {"name": 1}},
    {"io.modelcontextprotocol/clientInfo": None},
    {"io.modelcontextprotocol/clientInfo": {"name": "n" * 3000, "version": "1"}},
    {"io.modelcontextprotocol/logLevel": "info"},
    {"io.modelcontextprotocol/logLevel": "loud"},
    {"io.modelcontextprotocol/protocolVersion": "2025-11-25"},
    {"io.modelcontextprotocol/protocolVersion": 3},
)

RAW = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b'{"a":NaN}',
    b"[" * 2000,
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"nothing"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a_text","arguments":{"text":"\\ud800"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a_text","arguments":{"text":"\xff"}}}',
)

CHANGES: tuple[dict[str, str | None], ...] = (
    {"mcp-name": "=?base64?YV90ZXh0?="},
    {"mcp-name": "nothing"},
    {"mcp-name": None},
    {"mcp-method": None},
    {"mcp-method": "tools/list"},
    {"mcp-protocol-version": None},
    {"mcp-protocol-version": "2026-01-01"},
    {"mcp-protocol-version": "2025-06-18"},
    {"mcp-param-text": "b"},
    {"mcp-session-id": "x"},
    {"accept": None},
    {"accept": "application/json"},
    {"accept": "*/*"},
    {"accept": "application/*, text/*"},
    {"accept": "Application/JSON, Text/Event-Stream"},
    {"accept": "application/json;q=0, text/event-stream"},
    {"content-type": "application/json; charset=utf-8"},
    {"content-type": "text/plain"},
    {"content-type": None},
    {"last-event-id": "x"},
)


async def test_odd_requests_of_the_modern_era_are_answered_alike(ways: Ways) -> None:
    good = as_modern(call("a_text", {"text": "a"}))
    cases = [(name, ways.modern(_enveloped(message))) for name, message in odd_messages()]
    cases += [(f"meta {meta}", ways.modern(as_modern(good, **meta))) for meta in METAS]
    cases += [("no envelope", ways.modern(call("a_text", {"text": "a"})))]
    cases += [(f"change {change}", ways.modern(good, change)) for change in CHANGES]
    cases += [(f"raw {raw:.20}" if isinstance(raw, str) else f"raw {raw[:20]!r}", ways.modern(raw)) for raw in RAW]
    cases += [
        (
            "a whole minus zero",
            ways.modern(_written(as_modern(call("anything", {"value": 1}))).replace(b'"value": 1', b'"value": -0')),
        )
    ]
    body, headers = ways.modern(good)
    for name in ("accept", "mcp-method", "mcp-name", "mcp-protocol-version", "content-type"):
        cases += [(f"{name} twice", (body, [*dict(headers).items(), (name, dict(headers)[name])]))]
    twice = [*((name, value) for name, value in dict(headers).items() if name != "accept")]
    cases += [
        ("accept in two lines", (body, [*twice, ("accept", "application/json"), ("accept", "text/event-stream")]))
    ]
    assert await differing(ways, cases) == {}


async def test_no_long_header_of_a_client_is_remembered(ways: Ways) -> None:
    accept = f"application/json, text/event-stream, {'x' * jsonrpc.LONGEST_ACCEPT}"
    remembered = mcp._accepted.cache_info().currsize
    fast, slow = await ways.both(ways.modern(as_modern(call("nothing", {})), {"accept": accept}))
    assert fast == slow
    assert fast[0] == 200
    assert mcp._accepted.cache_info().currsize == remembered


async def test_odd_requests_of_the_handshake_era_are_answered_alike(ways: Ways) -> None:
    good = call("a_text", {"text": "a"})
    cases: list[tuple[str, Sent]] = []
    for version in VERSIONS:
        sent = partial(ways.handshake, version)
        cases += [(f"{version} {name}", sent(message)) for name, message in odd_messages()]
        cases += [(f"{version} meta {meta}", sent(call("a_text", {"text": "a"}, **meta))) for meta in METAS]
        cases += [(f"{version} change {change}", sent(good, change)) for change in CHANGES]
        cases += [(f"{version} raw {raw[:20]!r}", sent(raw)) for raw in RAW]
        cases += [(f"{version} a batch", sent([good, {**good, "id": 2}]))]
        cases += [(f"{version} enveloped", sent({**good, "params": {**good["params"], "_meta": envelope()}}))]
    assert await differing(ways, cases) == {}


def _enveloped(message: Any) -> Any:
    params = message.get("params")
    fit = isinstance(params, dict) and isinstance(params.get("_meta", {}), dict)
    return as_modern(message) if fit else message


async def test_ordinary_calls_all_go_the_short_way(ways: Ways) -> None:
    sent = [ways.modern(as_modern(call("echo", {"message": "m"}, progressToken=1)))]
    sent += [ways.handshake(version, call("echo", {"message": "m"}, id=f"r{version}")) for version in FAST_VERSIONS]
    before = ways.fast.app.rooms.fast_path.aside
    for each in sent * 3:
        (status, _, said), slow = await ways.both(each)
        assert status == 200
        assert "Echo: m" in said
        assert slow[0] == 200
    assert (ways.short, ways.fast.app.rooms.fast_path.aside) == (3 * len(sent), before)
    assert ways.slow.app.rooms.fast_path.short == 0


LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")


async def pages(ways: Ways, sent: Callable[[Any], Sent], method: str) -> AsyncIterator[tuple[Any, Any, bool]]:
    """Each page of a list, as both ways give it, and whether the fast path did."""
    cursor: str | None = None
    while True:
        message = request(method, params={} if cursor is None else {"cursor": cursor})
        before = ways.short
        fast, slow = await ways.both(sent(message))
        yield fast, slow, ways.short > before
        cursor = json.loads(fast[2])["result"].get("nextCursor")
        if cursor is None:
            return


async def test_each_page_of_a_list_is_made_once_and_then_answered_alike(ways: Ways) -> None:
    ways_to_send: list[Callable[[Any], Sent]] = [partial(ways.handshake, version) for version in VERSIONS]
    ways_to_send.append(lambda message: ways.modern(as_modern(message)))
    for sent in ways_to_send:
        for method in LISTS:
            for short in (False, True):
                async for fast, slow, was_short in pages(ways, sent, method):
                    assert fast == slow
                    assert was_short is short


async def test_odd_requests_for_lists_are_answered_alike(ways: Ways) -> None:
    cases: list[tuple[str, Sent]] = []
    odd: tuple[Any, ...] = (
        {"cursor": None},
        {"cursor": 1},
        {"cursor": "x"},
        {"zz": 1},
        {"_meta": {"zz": 1}},
        [],
        {"name": "x"},
    )
    for params in odd:
        message = {**request("tools/list"), "params": params}
        cases += [(f"{version} {params}", ways.handshake(version, message)) for version in VERSIONS]
        if isinstance(params, dict):
            cases += [(f"modern {params}", ways.modern(as_modern(message)))]
    cases += [("no params", ways.handshake(VERSIONS[-1], request("tools/list")))]
    cases += [("no envelope", ways.modern(request("tools/list")))]
    for _ in range(2):  # made, and then as they were made
        assert await differing(ways, cases) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ARGUMENT = st.dictionaries(st.sampled_from(["text", "value", "n", "point", "code", "zz"]), JSON, max_size=3)
TOOLS = st.sampled_from([tool.__name__ for tool in PLAIN] + ["nope", "more_input"])
META = st.dictionaries(
    st.sampled_from(["progressToken", "zz", *envelope(), "io.modelcontextprotocol/logLevel"]), JSON, max_size=2
)
METHODS = st.sampled_from(["tools/call"] * 8 + [*LISTS, "ping", "server/discover", "nope"])
EXAMPLES = int(os.environ.get("FAST_PATH_EXAMPLES", "60"))
"""For each era; a whole run has 5,000."""


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Requests, most of them for tools, some of them wrong somewhere."""
    params: dict[str, Any] = {"name": draw(TOOLS), "arguments": draw(ARGUMENT)}
    message: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": draw(st.integers(0, 9) | st.text(max_size=3)),
        "method": draw(METHODS),
    }
    if message["method"] in LISTS:
        params = draw(st.sampled_from([{}, {"cursor": "x"}]))
    if draw(st.integers(0, 2)) == 0:
        params["_meta"] = draw(META)
    if draw(st.integers(0, 4)) == 0:
        params.update(draw(st.dictionaries(st.sampled_from(["name", "arguments", "zz", "_meta"]), JSON, max_size=1)))
    message["params"] = params
    if draw(st.integers(0, 5)) == 0:
        message.update(draw(st.dictionaries(st.sampled_from(["id", "method", "params", "zz"]), JSON, max_size=1)))
    return message


Both = Callable[[Callable[[Ways], Sent]], tuple[Any, Any]]


@pytest.fixture
def both(redis_url: str, config: Path) -> Iterator[Both]:
    """Sends a request both ways, to workers that live in a loop of their own: property tests are synchronous."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        ways = runner.run(stack.enter_async_context(opened(redis_url, config)))
        yield lambda sent: runner.run(ways.both(sent(ways)))
        runner.run(stack.aclose())


FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(messages())
@settings(max_examples=EXAMPLES, suppress_health_check=FIXTURES)
def test_any_request_of_the_modern_era_is_answered_alike(both: Both, message: dict[str, Any]) -> None:
    fast, slow = both(lambda ways: ways.modern(_enveloped(message)))
    assert fast == slow


@given(messages(), st.sampled_from(VERSIONS[1:]))
@settings(max_examples=EXAMPLES, suppress_health_check=FIXTURES)
def test_any_request_of_a_session_is_answered_alike(both: Both, message: dict[str, Any], version: str) -> None:
    fast, slow = both(lambda ways: ways.handshake(version, message))
    assert fast == slow
