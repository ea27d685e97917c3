from __future__ import annotations

import logging
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
)

from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def poet(name: str = "poet") -> MCPServer[Any]:
    server = MCPServer(name)

    @server.prompt()
    def poem(about: str, lines: int = 4) -> str:
        """Write a poem."""
        if about == "fire":
            raise RuntimeError("password=hunter2")
        return f"{lines} lines about {about}"

    @server.resource("poem://{about}")
    def stored(about: str) -> str:
        return about

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(ref: Any, argument: Any, _context: Any) -> Completion:
        asked = ref.name if isinstance(ref, PromptReference) else ref.uri
        if argument.value == "wrong":
            raise MCPError(INVALID_PARAMS, "No such poet")
        if argument.value == "many":
            return Completion(values=[str(number) for number in range(250)])
        return Completion(values=[f"{name}:{asked}:{argument.name}"])

    return server


@ERAS
async def test_a_prompt_is_listed_and_rendered_under_its_prefixed_name(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((poet(), "always")) as opened, Client(opened.server, mode=era) as client:
        listed = (await client.list_prompts()).prompts
        result = await client.get_prompt("poet__poem", {"about": "rain"})
    assert [prompt.name for prompt in listed] == ["poet__poem"]
    content = result.messages[0].content
    assert isinstance(content, TextContent)
    assert content.text == "4 lines about rain"


@ERAS
@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("poem", {"about": "rain"}, INVALID_PARAMS, "Unknown prompt: poem"),
        ("poet__poem", {}, INVALID_PARAMS, "Missing arguments for prompt poet__poem: about"),
        (
            "poet__poem",
            {"about": "x", "lines": "six"},
            INVALID_PARAMS,
            "Invalid arguments for prompt poem: lines must be a",
        ),
        ("poet__poem", {"about": "fire"}, INTERNAL_ERROR, "prompts/get failed: poet__poem"),
    ],
)
async def test_a_prompt_that_cannot_be_had_is_a_protocol_error_that_says_why(
    open_gateway: OpenGateway,
    era: str,
    name: str,
    arguments: dict[str, str],
    code: int,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_gateway((poet(), "always")) as opened, Client(opened.server, mode=era) as client:
        with caplog.at_level(logging.ERROR), pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.code == code
    assert caught.value.message.startswith(message)
    assert "hunter2" not in str(caught.value.error)


@ERAS
async def test_completions_come_from_whoever_offers_the_prompt_or_the_template(
    open_gateway: OpenGateway, era: str
) -> None:
    mute = MCPServer("mute")
    mute.prompt(name="hush")(lambda word: word)
    mounted = (poet("a"), "always"), (poet("b"), "always"), (mute, "always")
    async with open_gateway(*mounted) as opened, Client(opened.server, mode=era) as client:
        argument = {"name": "about", "value": "r"}
        prompt = await client.complete(PromptReference(type="ref/prompt", name="b__poem"), argument)
        template = ResourceTemplateReference(type="ref/resource", uri="poem://{about}")
        resource = await client.complete(template, argument)
        silent = await client.complete(PromptReference(type="ref/prompt", name="mute__hush"), argument)
        with pytest.raises(MCPError) as caught:
            await client.complete(PromptReference(type="ref/prompt", name="poem"), argument)
    assert prompt.completion.values == ["b:poem:about"]
    assert resource.completion.values == ["a:poem://{about}:about"]
    assert silent.completion.values == []
    assert (caught.value.code, caught.value.message) == (INVALID_PARAMS, "Unknown reference: poem")


async def test_no_more_than_a_hundred_completions_go_out_and_the_rest_is_announced(open_gateway: OpenGateway) -> None:
    async with open_gateway((poet(), "never")) as opened, Client(opened.server) as client:
        ref = PromptReference(type="ref/prompt", name="poem")
        completion = (await client.complete(ref, {"name": "about", "value": "many"})).completion
    assert completion.values == [str(number) for number in range(100)]
    assert (completion.total, completion.has_more) == (250, True)


@ERAS
async def test_why_a_completion_is_refused_is_told_by_whoever_refuses_it(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((poet(), "never")) as opened, Client(opened.server, mode=era) as client:
        ref = PromptReference(type="ref/prompt", name="poem")
        with pytest.raises(MCPError) as caught:
            await client.complete(ref, {"name": "about", "value": "wrong"})
    assert (caught.value.code, caught.value.message) == (INVALID_PARAMS, "No such poet")
