"""A job that goes on in the background, for a client that knows tasks (SEP-2663).

Any other client waits for it as for every tool. Half-way it asks the user, if the client can be asked: the task then
waits for input, and any worker takes the answer.
"""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp_types import ClientCapabilities
from pydantic import BaseModel, Field

from switchboard.everything.asking import answered
from switchboard.everything.declared import ASKING, Declared
from switchboard.protocol.client_requests import FORMS

STEPS = 4


class GoOn(BaseModel):
    """The question half-way."""

    goOn: bool = Field(title="Go on?", description="Whether the job is to be finished.")  # noqa: N815  as clients see it


async def background_job(
    ctx: Context[Any],
    duration: Annotated[float, Field(description="How long to work, in seconds.", ge=0, le=600)] = 8,
) -> str:
    """Work in the background as a task, and half-way ask the user whether to go on. A client that knows no tasks waits
    for the result.
    """
    for step in range(1, STEPS + 1):
        await anyio.sleep(duration / STEPS)
        await ctx.report_progress(step, STEPS, f"Step {step} of {STEPS} is done.")
        if step == STEPS // 2 and not await _wanted(ctx):
            return f"Stopped half-way, after {duration / 2:g} seconds."
    return f"Done after {duration:g} seconds."


async def _wanted(ctx: Context[Any]) -> bool:
    """Whether the user wants the rest; without a way to ask, yes."""
    if not FORMS.declared_by(ctx.client_capabilities or ClientCapabilities()):
        return True
    with answered("elicitation/create"):
        answer = await ctx.elicit("The job is half done. Shall it go on?", GoOn)
    return answer.action == "accept" and answer.data.goOn


TOOLS = (Declared(background_job, "backgroundJob", "Job in the background", ASKING, task="optional"),)
