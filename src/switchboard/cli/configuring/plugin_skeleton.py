"""What `switchboard plugins new NAME` writes: a plugin of one tool, and its test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from switchboard.errors import ConfigurationError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

_PLUGIN: Final = '''\
"""The plugin {name}."""

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from switchboard.plugins import Plugin, PluginContext


class Settings(BaseModel):
    """What `plugins.{name}.config` may say."""

    greeting: str = "Hello"


def serve(context: PluginContext[Settings]) -> MCPServer:
    """Make the server; called again whenever the configuration changes."""
    server = MCPServer("{name}")

    @server.tool()
    def greet(who: str) -> str:
        """Greet somebody."""
        return f"{{context.config.greeting}}, {{who}}!"

    return server


plugin = Plugin("{name}", "0.1.0", serve, description="Greets people.", config=Settings)
'''

_TEST: Final = '''\
"""Tests of the plugin {name}: `python -m pytest {folder}`."""

import asyncio

from mcp import Client

from switchboard.plugins.testing import served

from . import plugin


def test_it_greets() -> None:
    async def run() -> None:
        async with served(plugin, config={{"greeting": "Good day"}}) as server, Client(server) as client:
            result = await client.call_tool("greet", {{"who": "Ada"}})
            assert result.content[0].text == "Good day, Ada!"

    asyncio.run(run())
'''


def write_skeleton(name: str, parent: Path) -> tuple[Path, ...]:
    """Write a package for a plugin; its files.

    Raises:
        ConfigurationError: the name cannot be one, or is taken there.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a plugin: small letters, digits and hyphens only, 64 at most")
    module = name.replace("-", "_")
    folder = parent / module
    if folder.exists() or folder.with_suffix(".py").exists():
        raise ConfigurationError(f"{folder} is there already: choose another name, or remove it")
    files = {
        folder / "__init__.py": _PLUGIN.format(name=name),
        folder / f"test_{module}.py": _TEST.format(name=name, folder=folder),
    }
    folder.mkdir(parents=True)
    for path, text in files.items():
        path.write_text(text)
    return tuple(files)
