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
from switchboard.backends.direct import Forward
from switchboard.common.process import bare
from switchboard.common.visible_text import text
from switchboard.config import PluginSection
from switchboard.errors import without_links
from switchboard.identity import current
from switchboard.outbound_auth.asking import People, WaitingRequest, without_answer
from switchboard.plugins import Plugin
from switchboard.plugins.api import NOT_CONNECTED, PersonNotConnected
from switchboard.plugins.connecting import Connecting, refused
from switchboard.plugins.discovery import PluginCode
from switchboard.plugins.isolation.channel import DESCRIPTOR, serve
from switchboard.plugins.isolation.parent import COMMAND, PERSON, PluginProcess
from switchboard.plugins.loading import MakeCredentials
from switchboard.settings import Settings

REDIS_PORT: Final = 6379


class IsolatedPlugin(BackendProvider):
    """A backend that is told whose request each is, and may answer that this person has to connect first."""

    connecting = Connecting()
    """Has people asked for what calls need of them."""

    async def _forward(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        others, answer = without_answer(body.get("inputResponses"))
        meta = {**(body.get("_meta") or {}), PERSON: current().principal.person}
        own = {**body, "_meta": meta}
        if answer is not None:
            own = {name: value for name, value in own.items() if name != "inputResponses"}
            own |= {"inputResponses": others} if others else {}
        state = body.get("requestState")
        request = WaitingRequest(method, client_channel, refused, state if isinstance(state, str) else None)
        serve = partial(self._forward_once, super()._forward, method, own, client_channel)
        return await self.connecting.served(serve, request, answer=answer)

    async def _forward_once(
        self, forward: Forward, method: str, body: Mapping[str, Any], client_channel: ClientChannel
    ) -> HandlerResult:
        try:
            return await forward(method, body, client_channel)
        except MCPError as error:
            said = error.data.get(NOT_CONNECTED) if isinstance(error.data, dict) else None
            if not isinstance(said, dict):
                raise
            person, reason = str(said.get("person")), without_links(text(str(said.get("reason"))))  # a stranger's text
            raise PersonNotConnected(person, self.name, reason, str(said.get("credential"))) from error


class PluginProcesses:
    """Runs them.

    Args:
        provider: makes the provider of a backend; what `BackendProvider` wants besides the backend is in it.
        credentials: gives each plugin its own.
        worker: the id of this worker.
        people: how people are asked for what calls need of them.
    """

    def __init__(
        self,
        settings: Settings,
        provider: Callable[[Backend], IsolatedPlugin],
        credentials: MakeCredentials,
        worker: str,
        people: People | None = None,
    ) -> None:
        self._people = people
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
        provider.connecting = Connecting(plugin.auth, self._credentials(plugin, section), self._people)
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
