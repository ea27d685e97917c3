"""The plugin: all themes put together on one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from switchboard.common.validation_messages import complaints
from switchboard.errors import ConfigurationError
from switchboard.everything import completions, prompts, resources
from switchboard.everything.ticker import Beat, LoopClock, log_messages, resource_updates, stderr_messages, ticking
from switchboard.everything.tools import (
    background,
    basics,
    content,
    elicitation,
    headers,
    logs,
    roots,
    rounds,
    sampling,
    structured,
)
from switchboard.everything.tools.apps import hello_world_app
from switchboard.everything.tools.whoami import WhoAmI
from switchboard.plugins import Host, Plugin

NAME, VERSION = "everything", "1.0.0"

_INSTRUCTIONS = """\
A demonstration of every MCP feature. Begin with `echo`; `whoami` tells who you are and which worker answered.
Static resources 1 to 100 can be read and subscribed to. Nothing here changes anything or reaches the outside."""

_TOOLS = (
    *basics.TOOLS,
    *sampling.TOOLS,
    *content.TOOLS,
    *elicitation.TOOLS,
    *structured.TOOLS,
    *roots.TOOLS,
    *rounds.TOOLS,
    *headers.TOOLS,
    *logs.TOOLS,
    *background.TOOLS,
)


class Intervals(BaseModel):
    """The plugin's configuration: how often the server speaks unasked, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_updates: float = Field(10, ge=0.1, le=86_400)
    log_messages: float = Field(20, ge=0.1, le=86_400)
    stderr_messages: float | None = Field(None, ge=0.1, le=86_400)
    """Never, unless it is set: no revision has this notification, and some clients log each as an error."""

    def beats(self) -> tuple[Beat, ...]:
        """The table of what is said when."""
        beats = (Beat(self.resource_updates, resource_updates), Beat(self.log_messages, log_messages))
        return (*beats, Beat(self.stderr_messages, stderr_messages)) if self.stderr_messages is not None else beats


def _intervals(config: Mapping[str, object]) -> Intervals:
    try:
        return Intervals.model_validate(config)
    except ValidationError as wrong:
        mistakes, allowed = complaints(wrong, "config"), ", ".join(Intervals.model_fields)
        raise ConfigurationError(
            f"plugin {NAME!r}: {mistakes} (seconds from 0.1 to 86400; known: {allowed})"
        ) from wrong


@cache
def _tools() -> tuple[Tool, ...]:
    """The tools that are the same on every server: to read their signatures is most of what one costs to make."""
    return tuple(row.tool() for row in _TOOLS)


def _server(whoami: WhoAmI) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer(
        NAME,
        title="Everything",
        version=VERSION,
        instructions=_INSTRUCTIONS,
        tools=[*_tools(), whoami.declared().tool()],
        resources=resources.all_resources(),
        extensions=[hello_world_app()],
    )
    resources.add_template(server)
    prompts.add_to(server)
    completions.add_to(server)
    return server


def plugin(config: Mapping[str, object]) -> Plugin:
    """The `everything` plugin.

    Raises:
        ConfigurationError: `config` has an unknown key, or an interval that is out of bounds.
    """
    intervals = _intervals(config)
    whoami = WhoAmI()

    @asynccontextmanager
    async def running(host: Host) -> AsyncIterator[None]:
        whoami.run_on(host)
        async with ticking(host, intervals.beats(), LoopClock()):
            yield

    return Plugin(
        name=NAME,
        version=VERSION,
        server=_server(whoami),
        running=running,
        page_sizes={"resources": resources.PAGE},
    )
