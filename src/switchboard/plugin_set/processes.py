"""Plugins with `isolation: process` as providers: children on stdio, as configured servers are.

Part of the composition root: `plugins` knows what runs in such a process, and `backends` how to talk to one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from switchboard.backend_configs import plugin_key
from switchboard.backends import Backend, BackendProvider, Channel, Stdio
from switchboard.backends.caller import ClientChannel
from switchboard.common.process import bare
from switchboard.config import PluginSection
from switchboard.errors import NotConnected
from switchboard.identity import current
from switchboard.plugins import Plugin
from switchboard.plugins.adapter import ConnectPage, asked, asking, no_page
from switchboard.plugins.api import NOT_CONNECTED
from switchboard.plugins.discovery import PluginCode
from switchboard.plugins.isolation.channel import DESCRIPTOR, serve
from switchboard.plugins.isolation.parent import COMMAND, PERSON, PluginProcess
from switchboard.plugins.loading import MakeCredentials
from switchboard.settings import Settings

REDIS_PORT: Final = 6379


class IsolatedPlugin(BackendProvider):
    """A backend that is told whose request each is, and may answer that this person has to connect first."""

    connect_page: ConnectPage = staticmethod(no_page)
    """Gives the address where a person connects."""

    async def _forward(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        person = current().principal.person
        meta = {**(body.get("_meta") or {}), PERSON: person}
        try:
            return await super()._forward(method, {**body, "_meta": meta}, client_channel)
        except MCPError as error:
            if not isinstance(error.data, dict) or not isinstance(reason := error.data.get(NOT_CONNECTED), str):
                raise
            missing = NotConnected(person, self.name, reason)
            if method == "tools/call":
                return asking(missing, self.connect_page)
            raise MCPError(error.code, asked(missing, self.connect_page)) from error


class PluginProcesses:
    """Runs them.

    Args:
        provider: makes the provider of a backend; what `BackendProvider` wants besides the backend is in it.
        credentials: gives each plugin its own.
        worker: the id of this worker.
        connect_page: gives the address where a person connects.
    """

    def __init__(
        self,
        settings: Settings,
        provider: Callable[[Backend], IsolatedPlugin],
        credentials: MakeCredentials,
        worker: str,
        connect_page: ConnectPage = no_page,
    ) -> None:
        self._connect_page = connect_page
        self._folder: Path = settings.cache_dir / "plugins"
        self._closed = tuple(_ports(settings.redis_url.get_secret_value())) if settings.redis_url else ()
        self._provider = provider
        self._credentials = credentials
        self._worker = worker

    async def described(self, code: PluginCode, section: PluginSection) -> tuple[Plugin, tuple[str, ...]]:
        """What a plugin says of itself, asked in a process of its own; and what that cannot be kept from here.

        Raises:
            PluginFailure: its code fails, or its configuration does not fit.
        """
        return await self._process(code, section).described()

    def provider(self, plugin: Plugin, code: PluginCode, section: PluginSection) -> IsolatedPlugin:
        """The plugin, to be started."""
        process = self._process(code, section)
        channel = Channel(DESCRIPTOR, partial(_serve, process, self._credentials, plugin, section))
        command, *arguments = (*COMMAND, plugin.name, plugin.version, plugin_key(section))  # tells two of them apart
        folder = str(process.folder)
        what = Stdio(command, tuple(arguments), bare(os.environ), folder, "handshake", own_cwd=True, channel=channel)
        provider = self._provider(Backend(plugin.name, what, "shared", section.prefix))
        provider.connect_page = self._connect_page
        return provider

    def _process(self, code: PluginCode, section: PluginSection) -> PluginProcess:
        return PluginProcess(code, section, self._folder / code.name, self._closed, self._worker)


async def _serve(
    process: PluginProcess, credentials: MakeCredentials, plugin: Plugin, section: PluginSection, end: Any
) -> None:
    await serve(end, process.task(), credentials(plugin, section))


def _ports(redis_url: str) -> tuple[int, ...]:
    """The TCP ports in a Redis URL, which may name several nodes."""
    places = urlsplit(redis_url).netloc.rpartition("@")[2].split(",")
    return tuple(
        {int(port) if port.isdigit() else REDIS_PORT for _, _, port in (each.rpartition(":") for each in places)}
    )
