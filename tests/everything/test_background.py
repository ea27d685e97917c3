"""The job in the background, as a client sees it that knows no tasks: it waits, and is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import ElicitResult

from switchboard.plugins import TASK_SUPPORT

SHORT = {"duration": 0}


@pytest.mark.parametrize(("wanted", "end"), [(True, "Done after 0 seconds."), (False, "Stopped half-way")])
async def test_the_user_decides_half_way_whether_the_job_goes_on(
    server: MCPServer[Any], words: Callable[..., str], wanted: bool, end: str
) -> None:
    async def fill_in(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"goOn": wanted})

    async with Client(server, mode="legacy", elicitation_callback=fill_in) as client:
        assert end in words(await client.call_tool("backgroundJob", SHORT))


@pytest.mark.parametrize("content", [None, {}, {"goOn": "perhaps"}, {"other": True}])
async def test_an_answer_of_the_wrong_shape_is_a_tool_error_that_says_so(
    server: MCPServer[Any], words: Callable[..., str], content: Any
) -> None:
    async def fill_in(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content=content)

    async with Client(server, mode="legacy", elicitation_callback=fill_in) as client:
        result = await client.call_tool("backgroundJob", SHORT)
    assert result.is_error
    assert "The client's answer to elicitation/create has the wrong shape." in words(result)


async def test_a_client_that_cannot_be_asked_gets_the_whole_job(
    connect: Callable[..., Client], words: Callable[..., str]
) -> None:
    async with connect() as client:
        assert "Done after 0 seconds." in words(await client.call_tool("backgroundJob", SHORT))


async def test_tools_that_take_long_say_that_they_may_run_as_tasks(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        tools = (await client.list_tools()).tools
    said = {tool.name: (tool.meta or {}).get(TASK_SUPPORT) for tool in tools}
    supporting = {name: support for name, support in said.items() if support}
    assert supporting == {"longRunningOperation": "optional", "backgroundJob": "optional"}
