"""The plugin: all themes put together on one server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer

from switchboard.conformance import (
    asking,
    changes,
    completions,
    content,
    prompts,
    resources,
    rounds,
    schemas,
    speaking,
    tasks,
)
from switchboard.errors import ConfigurationError
from switchboard.plugins import Plugin

NAME, VERSION = "conformance", "0.2.0-alpha.12"
"""The version is that of the suite whose fixtures these are."""

TOOLS = (
    *content.TOOLS,
    *speaking.TOOLS,
    *asking.TOOLS,
    *schemas.TOOLS,
    *changes.TOOLS,
    *rounds.TOOLS,
    *tasks.TOOLS,
)


def plugin(config: Mapping[str, object]) -> Plugin:
    """The `conformance` plugin.

    Raises:
        ConfigurationError: `config` is not empty; there is nothing to configure.
    """
    if config:
        raise ConfigurationError(f"plugin {NAME!r}: takes no configuration, not {', '.join(sorted(config))}")
    server: MCPServer[Any] = MCPServer(
        NAME,
        version=VERSION,
        tools=[row.tool() for row in TOOLS],
        resources=resources.all_resources(),
    )
    resources.add_template(server)
    prompts.add_to(server)
    completions.add_to(server)
    return Plugin(name=NAME, version=VERSION, server=server)
