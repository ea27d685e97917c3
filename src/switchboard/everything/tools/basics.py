"""The first tools anybody calls: text in and out, numbers, and a call that takes its time."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from pydantic import Field

from switchboard.everything.declared import PURE, Declared

_LARGEST = 10**15
"""Up to here a double holds whole numbers, and their sums, exactly."""

Number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
"""A JSON number; a text that looks like one is refused."""


def _plain(number: float) -> str:
    """The number as people write it: 5 and not 5.0."""
    return str(int(number)) if number.is_integer() else repr(number)


async def echo(
    message: Annotated[str, Field(description="The text to send back.", max_length=100_000)],
) -> str:
    """Send the message back unchanged, after the word "Echo:"."""
    return f"Echo: {message}"


async def add(
    a: Annotated[Number, Field(description="The first number.")],
    b: Annotated[Number, Field(description="The second number.")],
) -> str:
    """Add two numbers."""
    return f"The sum of {_plain(a)} and {_plain(b)} is {_plain(a + b)}."


async def long_running_operation(
    ctx: Context[Any],
    duration: Annotated[float, Field(description="How long to work, in seconds.", ge=0, le=600)] = 10,
    steps: Annotated[int, Field(description="How many progress reports to make on the way.", ge=1, le=100)] = 5,
) -> str:
    """Work for a while and report progress after each step, if the caller asked for progress. Can be cancelled."""
    for step in range(1, steps + 1):
        await anyio.sleep(duration / steps)
        await ctx.report_progress(step, steps, f"Step {step} of {steps}")
    return f"Long running operation completed. Duration: {duration:g} seconds, Steps: {steps}."


TOOLS = (
    Declared(echo, "echo", "Echo", PURE),
    Declared(add, "add", "Add two numbers", PURE),
    Declared(long_running_operation, "longRunningOperation", "Long running operation", PURE, task="optional"),
)
