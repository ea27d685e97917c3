"""Whatever a client sends gets a JSON-RPC error and a fitting status; nothing of it is a 500."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sessions.conftest import Asked, Start

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"
ECHO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "echo", "arguments": {"message": "x"}},
}
ENVELOPE = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


def modern(message: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**message, "params": {**message.get("params", {}), "_meta": {**ENVELOPE, **meta}}}


def modern_headers(method: str = "tools/call", name: str = "echo") -> dict[str, str]:
    return {**JSON, "mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": name}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"a": NaN}', -32700),
        (b"[" * 5000 + b"]" * 5000, -32700),
        (b'"text"', -32600),
        (b"[]", -32600),
        (b"17", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": 1, "message": "x"}}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "error": {"code": "1", "message": "x"}}', -32600),
    ],
)
def test_a_body_that_is_no_message_is_refused_with_400(asked: Asked, body: bytes, code: int) -> None:
    status, _, text = asked(body, {}, "handshake")
    assert status == 400
    error = json.loads(text)["error"]
    assert error["code"] == code
    assert error["message"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/jsonp"}, 415),
        ({"accept": "application/json"}, 406),
        ({"accept": "text/event-stream"}, 406),
        ({"accept": "application/json, text/event-stream;q=0"}, 406),
        ({"mcp-session-id": ""}, 400),
        ({"mcp-session-id": "0" * 48}, 404),
        ({"mcp-session-id": "{}"}, 404),
        ({"mcp-session-id": "x" * 4000}, 404),
        ({"mcp-protocol-version": "2025-06-18"}, 400),
        ({"mcp-protocol-version": "1999-01-01"}, 400),
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
    ],
)
def test_a_wrong_header_has_its_own_status(asked: Asked, change: dict[str, str], status: int) -> None:
    came, _, text = asked(json.dumps(ECHO), change, "handshake")
    assert came == status, text
    assert json.loads(text)["error"]["message"]


@pytest.mark.parametrize("name", ["mcp-session-id", "mcp-protocol-version", "content-type"])
async def test_a_header_that_comes_twice_is_refused(start: Start, name: str) -> None:
    workers = await start(1, memory=True)
    session = await workers.open()
    headers = [*{**session.headers, **JSON}.items()]
    doubled = [*headers, (name, dict(headers)[name])]
    answer = await workers.http.post(workers.a.url, json=ECHO, headers=doubled)
    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]


async def test_a_body_that_is_too_large_is_refused_with_413(start: Start) -> None:
    workers = await start(1, memory=True, max_body_bytes=2048)
    session = await workers.open()
    large = {**ECHO, "params": {"name": "echo", "arguments": {"message": "x" * 4096}}}
    assert (await session.post(workers.a, large)).status_code == 413


async def test_unknown_methods_are_method_not_found_in_both_eras(start: Start) -> None:
    workers = await start(1, memory=True)
    session = await workers.open()
    message = {"jsonrpc": "2.0", "id": 1, "method": "no/such"}
    old = await session.post(workers.a, message)
    assert (old.status_code, old.json()["error"]["code"]) == (200, -32601)
    new = await workers.http.post(workers.a.url, json=modern(message), headers=modern_headers("no/such", ""))
    assert (new.status_code, new.json()["error"]["code"], new.json()["id"]) == (404, -32601, 1)


async def test_an_unsupported_version_is_told_which_ones_are_supported(start: Start) -> None:
    workers = await start(1, memory=True)
    message = modern(ECHO)
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "v999"
    headers = {**modern_headers(), "mcp-protocol-version": "v999"}
    answer = await workers.http.post(workers.a.url, json=message, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["data"] == {"supported": [MODERN], "requested": "v999"}


@pytest.mark.parametrize("version", [None, "2025-11-25"])
async def test_a_modern_body_under_a_header_that_does_not_say_so_is_a_mismatch(
    start: Start, version: str | None
) -> None:
    workers = await start(1, memory=True)
    headers = {**JSON, **({"mcp-protocol-version": version} if version else {})}
    answer = await workers.http.post(workers.a.url, json=modern(ECHO), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_get_and_delete_do_not_exist_in_the_modern_era(start: Start) -> None:
    workers = await start(1, memory=True)
    for method in ("GET", "DELETE"):
        answer = await workers.http.request(method, workers.a.url, headers={"mcp-protocol-version": MODERN})
        assert answer.status_code == 405
    assert (await workers.http.put(workers.a.url)).status_code == 405


async def test_a_batch_is_served_in_2025_03_26_and_refused_in_every_other_revision(start: Start) -> None:
    workers = await start(1, memory=True)
    notification = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
    batch = [ECHO, {**ECHO, "id": "two"}, notification]
    old = await workers.open("2025-03-26")
    answer = await old.post(workers.a, batch)
    assert sorted(str(each["id"]) for each in answer.json()) == ["1", "two"]
    assert (await old.post(workers.a, [notification])).status_code == 202
    for broken in ([], [ECHO, ECHO], [ECHO, 5], [{**ECHO, "method": "initialize"}]):
        assert (await old.post(workers.a, broken)).status_code == 400
    for protocol in ("2024-11-05", "2025-06-18", "2025-11-25"):
        session = await workers.open(protocol)
        assert (await session.post(workers.a, batch)).status_code == 400


async def test_a_batch_with_progress_is_one_stream_with_every_response(start: Start) -> None:
    workers = await start(1, memory=True)
    session = await workers.open("2025-03-26")
    slow = {"name": "longRunningOperation", "arguments": {"duration": 0.2, "steps": 2}, "_meta": {"progressToken": 1}}
    batch = [ECHO, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": slow}]
    async with session.stream(workers.a, batch) as events:
        messages = [event.message for event in await events.rest()]
    assert {message["id"] for message in messages if "id" in message} == {1, 2}
    assert [m["params"]["progress"] for m in messages if "method" in m] == [1, 2]


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


def values() -> st.SearchStrategy[Any]:
    return st.recursive(scalars(), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each))


METHODS = [
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/subscribe",
    "prompts/get", "completion/complete", "logging/setLevel", "notifications/cancelled", "notifications/initialized",
    "server/discover", "subscriptions/listen", "no/such",
]  # fmt: skip

PLAUSIBLE: dict[str, Any] = {
    "name": "echo", "uri": "test://static/resource/1", "arguments": {"message": "x"}, "level": "info",
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}, "cursor": "x",
    "ref": {"type": "ref/prompt", "name": "complex_prompt"}, "argument": {"name": "style", "value": ""}, "requestId": 1,
    "_meta": {"progressToken": 1}, "requestState": "x", "inputResponses": {}, "notifications": None,
}  # fmt: skip

messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | scalars(),
        "id": st.integers() | st.text(max_size=5) | values(),
        "method": st.sampled_from(METHODS) | scalars(),
        "params": st.dictionaries(
            st.sampled_from(sorted(PLAUSIBLE)), st.sampled_from(list(PLAUSIBLE.values())) | values(), max_size=6
        )
        | values(),
        "result": values(),
        "error": values(),
    },
)
bodies = messages.map(json.dumps) | values().map(json.dumps) | st.binary(max_size=60)
headers = st.dictionaries(
    st.sampled_from(["accept", "content-type", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"]),
    st.sampled_from(["application/json", "text/event-stream", "*/*", MODERN, "2025-11-25", "tools/call", "echo", "x"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
    max_size=3,
)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=bodies, change=headers, era=st.sampled_from(["handshake", "modern", "none"]))
def test_no_mutated_request_is_answered_with_a_server_error(
    asked: Asked, body: str | bytes, change: dict[str, str], era: str
) -> None:
    status, content_type, text = asked(body, change, era)
    assert status < 500, text
    if status >= 400 and status not in (405, 406):
        assert content_type.startswith("application/json")
        assert "error" in json.loads(text)


LONG_ID = "x" * 257
MANY_DIGITS = 10**4000


@pytest.mark.parametrize(
    "message",
    [
        {"id": LONG_ID, "method": "ping"},
        {"id": MANY_DIGITS, "method": "ping"},
        {"id": 1 << 63, "method": "ping"},
        {"id": LONG_ID, "result": {}},
        {"id": 1, "method": "x" * 257},
        {"id": 1, "method": "tools/call", "params": {"name": "echo", "_meta": {"progressToken": LONG_ID}}},
        {"id": 1, "method": "tools/call", "params": {"name": "echo", "_meta": {"progressToken": MANY_DIGITS}}},
        {"method": "notifications/cancelled", "params": {"requestId": LONG_ID}},
        {"method": "notifications/cancelled", "params": {"requestId": "x" * 3_900_000}},
        {"method": "notifications/cancelled", "params": {"requestId": -MANY_DIGITS}},
        {"id": 1, "method": "tasks/get", "params": {"taskId": LONG_ID}},
        {"id": 1, "method": "resources/subscribe", "params": {"uri": "test://static/resource/" + "1" * 2_048}},
        {"id": 1, "method": "resources/unsubscribe", "params": {"uri": "test://static/resource/" + "1" * 2_048}},
        {"id": 1, "method": "resources/read", "params": {"uri": "test://static/resource/" + "{" * 8_192}},
        {
            "id": 1,
            "method": "completion/complete",
            "params": {"ref": {"type": "ref/resource", "uri": "test://" + "{" * 8_192}, "argument": {}},
        },
        {
            "id": 1,
            "method": "subscriptions/listen",
            "params": {"notifications": {"resourceSubscriptions": ["test://static/resource/" + "1" * 2_048]}},
        },
        {"id": 1, "method": "subscriptions/listen", "params": {"notifications": {"taskIds": [LONG_ID]}}},
    ],
)
async def test_an_id_longer_than_any_clients_is_refused_before_anything_is_kept(
    start: Start, message: dict[str, Any]
) -> None:
    workers = await start(1)
    session = await workers.open()
    text = {"jsonrpc": "2.0", **message}
    method = str(message.get("method", "ping"))
    eras = [session.headers] if "method" not in message else [session.headers, modern_headers(method[:64], "")]
    for headers in eras:
        async with asyncio.timeout(60):
            answer = await workers.http.post(workers.a.url, json=text, headers={**headers, **JSON})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == -32600
    async for key in workers.redis.scan_iter("mcp:cancel:*"):
        raise AssertionError(key)


async def test_cancellations_of_one_session_are_kept_in_bounds_and_by_digests(start: Start) -> None:
    workers = await start(1)
    session = await workers.open()
    redis = workers.redis

    async def cancel(request: str) -> None:
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request}}
        assert (await session.post(workers.a, cancelled)).status_code == 202

    await cancel("secret 1")
    keys = [key async for key in redis.scan_iter("mcp:cancel:*")]
    assert keys == [workers.state.keys.cancel(session.id)]
    [(first, at)] = await redis.zrange(keys[0], 0, -1, withscores=True)
    await redis.zadd(keys[0], {f"{number:032x}": at + 1 for number in range(300)})
    await cancel("secret 2")
    assert await redis.zcard(keys[0]) == 256
    assert await redis.zscore(keys[0], first) is None, "the oldest are given up"
    assert all(re.fullmatch("[0-9a-f]{32}", named) for named in await redis.zrange(keys[0], 0, -1))
    assert 0 < await redis.pttl(keys[0]) <= 30_000


@pytest.mark.parametrize(
    "last",
    [
        "s.18446744073709551616-0",
        "s.0-18446744073709551616",
        "s.18446744073709551615-18446744073709551615",
        "s.99999999999999999999-99999999999999999999",
        "abcdefghijkl.99999999999999999999-0",
        "s.1-1-1",
        "s." + "1" * 5000 + "-0",
        "x" * 4000,
    ],
)
async def test_a_last_event_id_that_redis_could_not_read_is_refused(start: Start, last: str) -> None:
    workers = await start(1)
    session = await workers.open()
    async with asyncio.timeout(60):
        answer = await workers.http.get(workers.a.url, headers={**session.headers, "last-event-id": last})
    assert answer.status_code == 400, answer.text
    assert "Last-Event-ID" in answer.json()["error"]["message"]
