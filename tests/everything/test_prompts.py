"""Prompts, and the completions of their arguments and of the template's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmbeddedResource,
    ImageContent,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

TEMPLATE = ResourceTemplateReference(uri="test://static/resource/{id}")


def _prompt(name: str) -> PromptReference:
    return PromptReference(name=name)


async def test_prompts_are_listed_with_their_arguments(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        prompts = (await client.list_prompts()).prompts
    assert {prompt.name: [(arg.name, arg.required) for arg in prompt.arguments or []] for prompt in prompts} == {
        "simple_prompt": [],
        "complex_prompt": [("temperature", True), ("style", False)],
        "resource_prompt": [("resourceId", True)],
    }
    assert all(argument.description for prompt in prompts for argument in prompt.arguments or [])


async def test_the_simple_prompt_is_one_message_of_the_user(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        (message,) = (await client.get_prompt("simple_prompt")).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)


async def test_the_complex_prompt_repeats_its_arguments_and_shows_an_image(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        asked, answered, shown = (
            await client.get_prompt("complex_prompt", {"temperature": "0.7", "style": "formal"})
        ).messages
    assert isinstance(asked.content, TextContent)
    assert "temperature=0.7, style=formal" in asked.content.text
    assert answered.role == "assistant"
    assert isinstance(shown.content, ImageContent)


async def test_the_style_of_the_complex_prompt_may_be_left_out(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        asked = (await client.get_prompt("complex_prompt", {"temperature": "1"})).messages[0]
    assert isinstance(asked.content, TextContent)
    assert asked.content.text.endswith("temperature=1")


async def test_the_resource_prompt_embeds_the_resource(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        embedded = (await client.get_prompt("resource_prompt", {"resourceId": "3"})).messages[1].content
    assert isinstance(embedded, EmbeddedResource)
    assert isinstance(embedded.resource, TextResourceContents)
    assert embedded.resource.uri == "test://static/resource/3"


@pytest.mark.parametrize("number", ["0", "101", "three", ""])
async def test_the_resource_prompt_refuses_a_number_that_does_not_exist(
    connect: Callable[..., Client], number: str
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="from 1 to 100") as refused:
            await client.get_prompt("resource_prompt", {"resourceId": number})
    assert refused.value.error.code == INVALID_PARAMS


@pytest.mark.parametrize(
    ("ref", "argument", "typed", "offered"),
    [
        (_prompt("complex_prompt"), "style", "f", ["formal", "friendly"]),
        (_prompt("complex_prompt"), "style", "zzz", []),
        (_prompt("complex_prompt"), "temperature", "0", ["0", "0.5", "0.7"]),
        (_prompt("complex_prompt"), "nonsense", "", []),
        (_prompt("simple_prompt"), "nonsense", "", []),
        (_prompt("resource_prompt"), "resourceId", "10", ["10", "100"]),
        (TEMPLATE, "id", "9", ["9", *(str(number) for number in range(90, 100))]),
    ],
)
async def test_completions_begin_with_what_was_typed(
    connect: Callable[..., Client],
    ref: PromptReference | ResourceTemplateReference,
    argument: str,
    typed: str,
    offered: list[str],
) -> None:
    async with connect() as client:
        completion = (await client.complete(ref, {"name": argument, "value": typed})).completion
    assert (completion.values, completion.total, completion.has_more) == (offered, len(offered), False)


async def test_nothing_typed_offers_all_hundred_numbers(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        completion = (await client.complete(TEMPLATE, {"name": "id", "value": ""})).completion
    assert completion.values == [str(number) for number in range(1, 101)]


@pytest.mark.parametrize("ref", [_prompt("no_such_prompt"), ResourceTemplateReference(uri="test://other/{id}")])
async def test_completing_for_something_unknown_is_a_protocol_error(
    connect: Callable[..., Client], ref: PromptReference | ResourceTemplateReference
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="nothing to complete") as refused:
            await client.complete(ref, {"name": "id", "value": ""})
    assert refused.value.error.code == INVALID_PARAMS
