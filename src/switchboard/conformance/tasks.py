"""Tools that run as tasks, and one that never does (SEP-2663)."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, InputRequiredResult
from pydantic import Field

from switchboard.conformance import forms
from switchboard.conformance.asking import elicited
from switchboard.conformance.fixture import Fixture
from switchboard.conformance.questions import ask, elicitation, filled_in

WHILE = 1.0
"""Seconds that a job takes: longer than a call is waited for before it becomes a task."""

LONGEST = 600


async def greet(name: Annotated[str, Field(description="Whom to greet.")]) -> str:
    """Greet somebody, at once."""
    return f"Hello, {name}!"


async def slow_compute(
    seconds: Annotated[float, Field(description="How long to take.", ge=0, le=LONGEST)],
    label: Annotated[str, Field(description="What to call the computation.")] = "computation",
) -> str:
    """Take a number of seconds, then say so."""
    await anyio.sleep(seconds)
    return f"{label}: done after {seconds:g} s"


async def failing_job() -> str:
    """Fail after a while, in a way that a model can read."""
    await anyio.sleep(WHILE)
    raise ToolError("This job always fails")


async def protocol_error_job() -> str:
    """Fail after a while with a protocol error."""
    await anyio.sleep(WHILE)
    raise MCPError(INTERNAL_ERROR, "This job always ends with a protocol error")


async def confirm_delete(ctx: Context[Any], filename: Annotated[str, Field(description="What to delete.")]) -> str:
    """Ask the user to confirm, then say whether the file would be deleted. Nothing is."""
    answer = await elicited(ctx, f"Delete {filename}?", forms.confirmation("confirm"))
    confirmed = answer.action == "accept" and (answer.content or {}).get("confirm") is True
    return f"{filename}: {'deleted' if confirmed else 'kept'}"


async def multi_input(ctx: Context[Any]) -> str:
    """Ask the user two things at the same time."""
    names: dict[str, Any] = {}

    async def asking(which: str) -> None:
        answer = await elicited(ctx, f"What is the {which} name?", forms.of_strings("name"))
        names[which] = (answer.content or {}).get("name", answer.action)

    async with anyio.create_task_group() as group:
        group.start_soon(asking, "first")
        group.start_soon(asking, "second")
    return f"{names['first']} and {names['second']}"


async def with_task(ctx: Context[Any]) -> str | InputRequiredResult:
    """Ask the user for a name in a round of its own, then take a while to greet."""
    name = filled_in(ctx, "user_name", "name", str)
    if name is None:
        return ask(ctx, {"user_name": elicitation("What is your name?", forms.of_strings("name"))})
    await anyio.sleep(WHILE)
    return f"Hello, {name}!"


TOOLS = (
    Fixture(greet, "greet"),
    Fixture(slow_compute, "slow_compute", task="optional"),
    Fixture(failing_job, "failing_job", task="required"),
    Fixture(protocol_error_job, "protocol_error_job", task="optional"),
    Fixture(confirm_delete, "confirm_delete", task="optional"),
    Fixture(multi_input, "multi_input", task="optional"),
    Fixture(with_task, "test_tool_with_task", task="required"),
)
