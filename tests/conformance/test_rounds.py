"""Multi-round-trip requests: asked in rounds, and nothing remembered between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult

Connect = Callable[..., Client]
Words = Callable[[CallToolResult], str]

TOLD = {
    "test_input_required_result_elicitation": "Hello, Ada!",
    "test_input_required_result_sampling": "The model said: Paris.",
    "test_input_required_result_list_roots": "home (file:///home/ada)",
    "test_input_required_result_request_state": "state-ok",
    "test_input_required_result_multiple_inputs": "Paris. This is Ada, at home in: home",
    "test_input_required_result_multi_round": "Ada likes blue.",
    "test_input_required_result_tampered_state": "state-ok",
    "test_input_required_result_capabilities": "Everything that the client can answer was answered.",
}


@pytest.mark.parametrize("tool", TOLD)
async def test_a_client_that_answers_every_round_gets_the_result(connect: Connect, words: Words, tool: str) -> None:
    async with connect("auto") as client:
        assert TOLD[tool] in words(await client.call_tool(tool))


@pytest.mark.parametrize("tool", TOLD)
async def test_a_handshake_client_is_told_that_there_are_no_rounds_for_it(
    connect: Connect, words: Words, tool: str
) -> None:
    async with connect("legacy") as client:
        refused = await client.call_tool(tool)
    assert refused.is_error
    assert "2026-07-28" in words(refused)


async def test_a_prompt_can_ask_too(connect: Connect) -> None:
    async with connect("auto") as client:
        answered = await client.get_prompt("test_input_required_result_prompt")
    assert "rain" in str(answered.messages[0].content)


async def test_an_answer_of_the_wrong_type_is_asked_for_again(connect: Connect, words: Words, person: Any) -> None:
    person.answers["name"] = 12345
    asked = person.fill_in

    async def fill_in(context: Any, params: Any) -> Any:
        if person.forms:
            person.answers["name"] = "Ada"
        return await asked(context, params)

    person.fill_in = fill_in
    async with connect("auto") as client:
        greeted = await client.call_tool("test_input_required_result_elicitation")
    assert words(greeted) == "Hello, Ada!"
    assert len(person.forms) == 2
