"""echo, add and longRunningOperation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult

Words = Callable[[CallToolResult], str]


async def test_echo_returns_the_message(connect: Callable[..., Client], words: Words) -> None:
    async with connect() as client:
        assert words(await client.call_tool("echo", {"message": "hello"})) == "Echo: hello"


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (2, 3, "The sum of 2 and 3 is 5."),
        (0.5, 1.25, "The sum of 0.5 and 1.25 is 1.75."),
        (-1, 1.0, "The sum of -1 and 1 is 0."),
        (10**15, 10**15, "The sum of 1000000000000000 and 1000000000000000 is 2000000000000000."),
    ],
)
async def test_add_adds(connect: Callable[..., Client], words: Words, a: float, b: float, text: str) -> None:
    async with connect() as client:
        assert words(await client.call_tool("add", {"a": a, "b": b})) == text


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("echo", {}, "message"),
        ("echo", {"message": 5}, "message"),
        ("echo", {"message": "x" * 100_001}, "message"),
        ("add", {"a": 1}, "b"),
        ("add", {"a": "1", "b": 1}, "a"),
        ("add", {"a": 1, "b": 2e15}, "b"),
        ("longRunningOperation", {"duration": -1}, "duration"),
        ("longRunningOperation", {"duration": 601}, "duration"),
        ("longRunningOperation", {"steps": 0}, "steps"),
        ("longRunningOperation", {"steps": 1.5}, "steps"),
        ("annotatedMessage", {"messageType": "gossip"}, "messageType"),
        ("getResourceReference", {"resourceId": 101}, "resourceId"),
        ("getResourceLinks", {"count": 11}, "count"),
        ("getStructuredContent", {"location": "Atlantis"}, "location"),
        ("headerParameter", {"region": ""}, "region"),
        ("sampleLLM", {"prompt": "p", "maxTokens": 0}, "maxTokens"),
        ("elicitUrl", {"url": "javascript:alert(1)"}, "url"),
    ],
)
async def test_a_bad_argument_is_an_error_result_that_names_it(
    connect: Callable[..., Client], words: Words, tool: str, arguments: dict[str, Any], named: str
) -> None:
    async with connect() as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert f"\n{named}\n" in words(result)


async def test_a_long_operation_reports_each_step(connect: Callable[..., Client], words: Words) -> None:
    reports: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    async with connect() as client:
        result = await client.call_tool("longRunningOperation", {"duration": 0, "steps": 3}, progress_callback=note)
    assert reports == [(1, 3, "Step 1 of 3"), (2, 3, "Step 2 of 3"), (3, 3, "Step 3 of 3")]
    assert words(result) == "Long running operation completed. Duration: 0 seconds, Steps: 3."


async def test_a_long_operation_ends_when_its_caller_cancels(
    connect: Callable[..., Client], server: MCPServer[Any]
) -> None:
    under_way, ended = anyio.Event(), anyio.Event()

    async def watching(ctx: Any, call_next: Any) -> Any:
        if ctx.method != "tools/call":
            return await call_next(ctx)
        under_way.set()
        try:
            return await call_next(ctx)
        except anyio.get_cancelled_exc_class():
            ended.set()
            raise

    server.middleware.append(watching)
    async with connect() as client, anyio.create_task_group() as calls:
        calls.start_soon(client.call_tool, "longRunningOperation", {"duration": 600})
        with anyio.fail_after(10):
            await under_way.wait()
            calls.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await ended.wait()
    assert ended.is_set()
