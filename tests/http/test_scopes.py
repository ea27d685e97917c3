"""Which scopes a message needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message

from switchboard.http.http_sse import HttpSseEndpoint
from switchboard.http.scopes import InsufficientScope, declined, needed, require
from switchboard.http.websocket import WebSocketEndpoint
from switchboard.identity import Caller, Principal, serving


def call(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def somebody(*scopes: str) -> Principal:
    return Principal("https://issuer", "alice", "client", frozenset(scopes))


@pytest.mark.parametrize(
    ("message", "scopes"),
    [
        (call("tools/list"), {"mcp:tools"}),
        (call("tools/call"), {"mcp:tools"}),
        (call("tasks/get"), {"mcp:tools"}),
        (call("tasks/update"), {"mcp:tools"}),
        (call("tasks/cancel"), {"mcp:tools"}),
        (call("resources/read"), {"mcp:resources"}),
        (call("resources/templates/list"), {"mcp:resources"}),
        (call("prompts/get"), {"mcp:prompts"}),
        (call("completion/complete", ref={"type": "ref/prompt"}), {"mcp:prompts"}),
        (call("completion/complete", ref={"type": "ref/resource"}), {"mcp:resources"}),
        (call("completion/complete", ref={"type": "ref/other"}), set()),
        (call("completion/complete", ref={"type": ["ref/prompt"]}), set()),
        (call("completion/complete", ref="ref/prompt"), set()),
        ({"method": "completion/complete", "params": ["ref/prompt"]}, set()),
        (call("subscriptions/listen", notifications={"taskIds": ["t"]}), {"mcp:tools"}),
        (call("subscriptions/listen", notifications={"resourceSubscriptions": ["r"]}), {"mcp:resources"}),
        (call("subscriptions/listen", notifications={"resourceSubscriptions": [], "taskIds": []}), set()),
        (call("subscriptions/listen", notifications={"toolsListChanged": True}), set()),
        (call("subscriptions/listen", notifications=["taskIds"]), set()),
        ({"method": "subscriptions/listen"}, set()),
        (call("initialize"), set()),
        (call("ping"), set()),
        (call("server/discover"), set()),
        ({"id": 1, "result": {}}, set()),
        ({"method": 7}, set()),
        ("tools/call", set()),
    ],
)
def test_a_message_needs_the_scope_of_its_family_of_methods(message: Any, scopes: set[str]) -> None:
    assert needed(message) == scopes


def test_messages_that_come_together_are_refused_with_all_that_they_need() -> None:
    batch = [call("tools/call"), call("prompts/get"), call("ping")]
    with pytest.raises(InsufficientScope) as refused:
        require(somebody("mcp:tools"), batch)
    assert refused.value.needed == {"mcp:tools", "mcp:prompts"}
    require(somebody("mcp:tools", "mcp:prompts"), batch)
    require(somebody("mcp"), batch)


def test_what_configuration_asks_for_an_entry_is_needed_besides() -> None:
    def of_entry(method: str, params: Any) -> frozenset[str]:
        return frozenset({"admin"}) if (method, params.get("name")) == ("tools/call", "wipe") else frozenset()

    require(somebody("mcp:tools"), [call("tools/call", name="look")], of_entry)
    with pytest.raises(InsufficientScope) as refused:
        require(somebody("mcp:tools"), [call("tools/call", name="wipe")], of_entry)
    assert refused.value.needed == {"mcp:tools", "admin"}
    for odd in ({"method": "tools/call", "params": ["wipe"]}, {"method": 7, "params": {"name": "wipe"}}, "wipe"):
        require(somebody("mcp"), [odd], of_entry)


@pytest.mark.parametrize(
    ("scope", "left_out"),
    [
        ("mcp:tools", {"promptsListChanged", "resourcesListChanged"}),
        ("mcp:prompts", {"toolsListChanged", "resourcesListChanged"}),
        ("mcp:resources", {"toolsListChanged", "promptsListChanged"}),
        ("mcp", set()),
    ],
)
def test_the_lists_that_a_token_may_not_see_are_left_out(scope: str, left_out: set[str]) -> None:
    assert declined(somebody(scope)) == left_out


@dataclass
class Sessions:
    """What the transports of one stream hand messages to: keeps them."""

    sid: str = "s"
    taken: list[Any] = field(default_factory=list)

    async def load(self, sid: str, who: Principal) -> str:
        return sid

    async def post(self, record: str, who: Principal, message: Any, request: Any) -> None:
        self.taken.append(message["method"])


async def over_http_sse(sessions: Any, who: Principal, message: Any, wanted: frozenset[str]) -> bool:
    """Whether HTTP+SSE accepts a message."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(message).encode()}

    async def send(told: Message) -> None:
        sent.append(told)

    scope = {"type": "http", "method": "POST", "path": "/message", "query_string": b"sessionId=s", "state": {}}
    scope["headers"] = [(b"content-type", b"application/json")]
    with serving(Caller(who)):
        await HttpSseEndpoint(sessions, entry_scopes=lambda *_: wanted).message(scope, receive, send)
    assert sent[0]["status"] in (202, 403)
    return bool(sent[0]["status"] == 202)


async def over_websocket(sessions: Any, who: Principal, message: Any, wanted: frozenset[str]) -> bool:
    """Whether a WebSocket accepts a message."""
    endpoint = WebSocketEndpoint(sessions, 10_000, lambda *_: wanted)
    refused = await endpoint.take(json.dumps(message), sessions, who, {"type": "websocket", "state": {}})
    assert refused is None or "lacks a scope" in refused["error"]["message"]
    return refused is None


@pytest.mark.parametrize("over", [over_http_sse, over_websocket])
@pytest.mark.parametrize(
    ("granted", "wanted", "taken"),
    [
        ({"mcp:prompts"}, set(), False),
        ({"mcp:tools"}, set(), True),
        ({"mcp:tools"}, {"files:write"}, False),
        ({"mcp:tools", "files:write"}, {"files:write"}, True),
    ],
)
async def test_transports_of_one_stream_refuse_what_the_token_has_no_scope_for(
    over: Any, granted: set[str], wanted: set[str], taken: bool
) -> None:
    sessions = Sessions()
    assert await over(sessions, somebody(*granted), call("tools/call", name="x"), frozenset(wanted)) is taken
    assert sessions.taken == (["tools/call"] if taken else [])
