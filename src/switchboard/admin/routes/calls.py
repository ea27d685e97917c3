"""`/api/tools/{name}/call`: a tool, called as whoever asks, with what their own client would be allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from switchboard.admin.administration import Administration
from switchboard.admin.bodies import StrictRoute
from switchboard.admin.tool_calls import ToolCall


class Call(BaseModel):
    """What to call a tool with."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any] = Field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="To the questions of the outcome before, `result.inputRequests`, by their keys:"
        ' `{"action": "accept", "content": {…}}`, or `decline`, or `cancel`.',
    )
    state: str = Field("", max_length=65_536, description="`result.requestState` of the outcome before, if it has one.")


class Outcome(BaseModel):
    """How a call ended."""

    outcome: Literal["completed", "failed", "input_required", "error"]
    """`failed`: the tool says that it could not do it; `input_required`: it asks something, and goes on once the call
    is repeated with `answers` and `state`; `error`: its server answered with an error."""
    result: dict[str, Any] = Field(default_factory=dict)
    """As MCP 2026-07-28 has it."""
    error: dict[str, Any] = Field(default_factory=dict)
    """Of JSON-RPC: code and message."""


EVENTS = {
    "schema": {"type": "string"},
    "example": "event: progress\ndata: {...}\n\nevent: outcome\ndata: {...}\n\n",
}

Selecting = Annotated[str, Query(max_length=512, description="As at the MCP endpoint.")]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["offer"], route_class=StrictRoute)

    @router.post(
        "/tools/{name}/call", response_model=Outcome, responses={200: {"content": {"text/event-stream": EVENTS}}}
    )
    async def call_tool(
        name: str, request: Request, body: Annotated[Call, Body()], preset: Selecting = "", tags: Selecting = ""
    ) -> ToolCall:
        """Call a tool as the person of the token, on this worker, by the rules of the MCP endpoint. With
        `Accept: text/event-stream` progress comes as events, the last of which is the `outcome`."""
        entry = (await administration.fresh()).tools.find(name)
        params: dict[str, Any] = {"name": name, "arguments": body.arguments}
        if body.answers:
            params["inputResponses"] = body.answers
        if body.state:
            params["requestState"] = body.state
        return ToolCall(
            administration.mcp,
            params,
            entry.wire["inputSchema"] if entry is not None else {},
            {"preset": preset, "tags": tags},
            administration.version,
            events="text/event-stream" in request.headers.get("accept", ""),
        )

    return router
