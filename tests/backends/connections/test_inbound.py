"""What a backend says by itself: each question has an answer or a reason, and news reach whoever they concern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from switchboard.backends.connections.inbound import InboundRequests
from switchboard.backends.connections.inflight import Call, InFlight
from switchboard.errors import StateUnavailable


class Client:
    """A client that answers, or raises, what it is told to."""

    era = "handshake"
    wants_progress = False
    capabilities: Mapping[str, Any] = {"elicitation": {}}

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.heard: list[str] = []

    async def ask(self, method: str, params: Any, timeout: Any = None) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def notify(self, method: str, params: Any) -> None:
        self.heard.append(method)


class Everybody:
    """Who hears what concerns the backend as a whole."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def changed(self, kind: str) -> None:
        self.heard.append(kind)

    async def updated(self, uri: str) -> None:
        self.heard.append(uri)


def inbound(calls: InFlight, everybody: Everybody | None = None) -> InboundRequests:
    return InboundRequests("own", calls, everybody or Everybody())


async def asked(answer: Any, method: str = "elicitation/create") -> Any:
    """What a backend is answered while a call of such a client is in flight."""
    calls = InFlight(owned=True)
    call = Call(Client(answer), 60)  # type: ignore[arg-type]
    async with call.clock():
        with calls.in_flight(call):
            return await inbound(calls).on_request(method, {})


async def test_a_question_gets_the_clients_answer_and_a_ping_its_own() -> None:
    assert await asked({"action": "decline"}) == {"action": "decline"}
    assert await asked(ValueError("nobody is asked"), "ping") == {}


@pytest.mark.parametrize(
    ("answer", "method", "code", "message"),
    [
        (MCPError(-5, "the client's own words"), "elicitation/create", -5, "the client's own words"),
        (StateUnavailable("away"), "elicitation/create", INTERNAL_ERROR, "The client cannot be asked now"),
        (ValueError("no answer"), "elicitation/create", INTERNAL_ERROR, "The client's answer is not valid"),
        ({}, "tools/call", METHOD_NOT_FOUND, "Method not found"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_told_why(
    answer: Any, method: str, code: int, message: str
) -> None:
    with pytest.raises(MCPError) as refused:
        await asked(answer, method)
    assert (refused.value.error.code, refused.value.error.message) == (code, message)


@pytest.mark.parametrize(
    ("method", "params", "to_all", "to_call"),
    [
        ("notifications/tools/list_changed", None, ["tools"], []),
        ("notifications/resources/list_changed", {}, ["resources"], []),
        ("notifications/prompts/list_changed", {}, ["prompts"], []),
        ("notifications/resources/updated", {"uri": "test://one"}, ["test://one"], []),
        ("notifications/resources/updated", {"uri": 7}, [], []),
        ("notifications/resources/updated", None, [], []),
        ("notifications/message", {"data": "x"}, [], ["notifications/message"]),
        ("notifications/elicitation/complete", {}, [], ["notifications/elicitation/complete"]),
        ("notifications/unheard_of", {}, [], []),
    ],
)
async def test_news_reach_everybody_or_the_call_that_they_are_about(
    method: str, params: Any, to_all: list[str], to_call: list[str]
) -> None:
    calls, client, everybody = InFlight(owned=True), Client(), Everybody()
    with calls.in_flight(Call(client, 60)):  # type: ignore[arg-type]
        await inbound(calls, everybody).on_notification(method, params)
    assert (everybody.heard, client.heard) == (to_all, to_call)
