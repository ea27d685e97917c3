"""An MCP App: a tool whose result a host shows in a page of ours (extension `io.modelcontextprotocol/ui`)."""

from __future__ import annotations

import datetime
from importlib.resources import files
from typing import Annotated, Any

from mcp.server.apps import Apps, client_supports_apps
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from switchboard.everything.declared import PURE

URI = "ui://hello-world/app.html"


class Greeting(BaseModel):
    """What the page shows."""

    greeting: str = Field(description="Words of welcome.")
    timestamp: str = Field(description="When the tool was called, in UTC (ISO 8601).")
    features: list[str] = Field(description="What the page demonstrates.")


async def hello_world(ctx: Context[Any]) -> Annotated[CallToolResult, Greeting]:
    """Greet the user in an interactive page that the client shows (MCP Apps), or in words if the client shows none."""
    greeting = Greeting(
        greeting="Hello from MCP Apps!",
        timestamp=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        features=["tool input and result", "messages to the chat", "the host's theme", "size changes"],
    )
    shown = "The greeting is shown in an interactive page." if client_supports_apps(ctx) else greeting.greeting
    return CallToolResult(content=[TextContent(text=shown)], structured_content=greeting.model_dump())


def hello_world_app() -> Apps:
    """The extension with its one tool and the page that belongs to it."""
    apps = Apps()
    declare = apps.tool(
        resource_uri=URI,
        name="mcp_apps_hello_world",
        title="Hello world (MCP Apps)",
        description=hello_world.__doc__,
        annotations=PURE,
    )
    declare(hello_world)
    page = files("switchboard.everything").joinpath("hello_world.html").read_text(encoding="utf-8")
    apps.add_html_resource(
        URI,
        page,
        name="Hello world app",
        title="Hello world",
        description="The page of the tool mcp_apps_hello_world.",
        prefers_border=True,
    )
    return apps
