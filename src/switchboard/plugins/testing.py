"""For tests of plugins: a plugin's server as a worker would make it, with credentials that are kept in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from mcp.server.mcpserver import MCPServer
from mcp.shared.subscriptions import ServerEvent

from switchboard.errors import NotConnected
from switchboard.plugins.api import OpenStream, Plugin, PluginContext, TokenInfo
from switchboard.plugins.loading import configured

SOMEBODY: Final = '["https://issuer.example","somebody"]'
"""The user of every request."""


@dataclass
class MemoryCredentials:
    """Credentials and tokens, by user. Satisfies `switchboard.plugins.api.Credentials`."""

    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    async def get(self, name: str, user: str) -> str | None:
        """A credential."""
        return self.kept.get(user, {}).get(name)

    async def put(self, name: str, value: str, user: str) -> None:
        """Keep a credential."""
        self.kept.setdefault(user, {})[name] = value

    async def delete(self, name: str, user: str) -> bool:
        """Delete a credential."""
        return self.kept.get(user, {}).pop(name, None) is not None

    async def names(self, user: str) -> list[str]:
        """What there is."""
        return sorted(self.kept.get(user, {}))

    async def access_token(self, user: str) -> str:
        """A token, or NotConnected."""
        if user not in self.tokens:
            raise NotConnected(user, "", "nobody has signed in")
        return self.tokens[user]

    async def token_info(self, user: str) -> TokenInfo:
        """What is known of it."""
        return TokenInfo("connected" if user in self.tokens else "missing")

    async def forget_token(self, user: str) -> None:
        """Forget a token."""
        self.tokens.pop(user, None)


class _Alone:
    """A host without streams."""

    worker = "test"
    state = "memory://"

    def streams(self) -> Iterable[OpenStream]:
        return ()

    async def publish(self, event: ServerEvent) -> None:
        return


@asynccontextmanager
async def served(
    plugin: Plugin,
    *,
    config: Mapping[str, object] | None = None,
    credentials: Mapping[str, str] | None = None,
    token: str | None = None,
) -> AsyncIterator[MCPServer[Any]]:
    """The plugin, started; its server, for `mcp.Client`.

    Args:
        config: as `plugins.NAME.config` would say.
        credentials: what `SOMEBODY` has entered.
        token: what `access_token` gives.

    Raises:
        ConfigurationError: the configuration does not fit.
    """
    kept = MemoryCredentials({SOMEBODY: dict(credentials or {})}, {SOMEBODY: token} if token else {})
    logger = structlog.get_logger(f"switchboard.plugins.{plugin.name}")
    context = PluginContext(plugin.name, configured(plugin, config or {}), logger, kept, lambda: SOMEBODY, plugin.auth)
    server = plugin.server if isinstance(plugin.server, MCPServer) else plugin.server(context)
    await plugin.start(context)
    try:
        async with plugin.running(_Alone()):
            yield server
    finally:
        await plugin.stop(context)
