"""The plugins of the configuration, in this worker: made, kept, made anew when their section or their code changes.

Part of the composition root. A plugin whose code fails, that its configuration does not fit, or that needs another that
does not run, is left out and reported; where its predecessor runs, that goes on. Only a configuration with a plugin
that is not there is refused as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog

from switchboard.backend_configs import plugin_key
from switchboard.backends import BackendProvider
from switchboard.config import Configuration, PluginSection
from switchboard.errors import ConfigurationError
from switchboard.gateway import Provider
from switchboard.outbound_auth.connectables import Connectable, Connectables
from switchboard.plugin_set.credentials import PluginCredentials
from switchboard.plugin_set.processes import PluginProcesses
from switchboard.plugins import Plugin, PluginLoader, PluginProvider, PluginSources
from switchboard.plugins.credentials import namespace
from switchboard.plugins.discovery import PluginCode
from switchboard.plugins.loading import configured, start_order

log = structlog.get_logger(__name__)

Phase = Literal["running", "failed", "disabled"]


@dataclass(frozen=True)
class ConfiguredPlugin:
    """One plugin of the configuration."""

    name: str
    section: PluginSection
    where: str = ""
    """Where its code is."""

    code: PluginCode | None = None
    plugin: Plugin | None = None
    """What it says of itself, once its code was read."""

    provider: Provider | None = None
    """What serves; that of its predecessor, if it could not take over."""

    reason: str = ""
    """Why it does not run, or not as it is now."""

    connectable: Connectable | None = None
    """What people connect to, if it asks them for something."""

    notes: tuple[str, ...] = ()
    """What its process cannot be kept from on this machine."""

    key: str = ""
    """Of its section when it was made; empty if it is to be made anew at the next occasion."""

    @property
    def phase(self) -> Phase:
        """How it is doing."""
        if not self.section.enabled:
            return "disabled"
        return "running" if self.provider is not None and not self.problem else "failed"

    @property
    def problem(self) -> str:
        """What is wrong with it, now."""
        if isinstance(self.provider, PluginProvider):
            return self.reason or self.provider.failure
        if isinstance(self.provider, BackendProvider) and self.provider.health.condition == "failing":
            return self.reason or self.provider.health.reason
        return self.reason

    def shown(self) -> dict[str, Any]:
        """How it is doing in this worker, as a document."""
        return {
            "name": self.name,
            "version": self.plugin.version if self.plugin else "",
            "description": self.plugin.description if self.plugin else "",
            "where": self.where,
            "isolation": self.section.isolation,
            "phase": self.phase,
            "serving": self.provider is not None,
            "reason": self.problem,
            "notes": list(self.notes),
        }


class ConfiguredPlugins:
    """All of them.

    Args:
        sources: where their code is.
        loader: makes those that run in this process.
        processes: runs those that have one of their own.
        credentials: says what people connect to.
        connectables: has that, while the plugin serves.
    """

    def __init__(
        self,
        sources: PluginSources,
        loader: PluginLoader,
        processes: PluginProcesses,
        credentials: PluginCredentials,
        connectables: Connectables,
    ) -> None:
        self.sources = sources
        self._loader = loader
        self._processes = processes
        self._credentials = credentials
        self._connectables = connectables
        self._plugins: dict[str, ConfiguredPlugin] = {}

    def __iter__(self) -> Iterator[ConfiguredPlugin]:
        return iter(self._plugins.values())

    @property
    def providers(self) -> dict[str, Provider]:
        """Those that serve, in the order of the configuration."""
        return {each.name: each.provider for each in self if each.provider is not None}

    def adopt(self, plugins: Mapping[str, ConfiguredPlugin]) -> None:
        """Have these be the plugins of this worker."""
        for name, each in plugins.items():
            before = self._plugins.get(name)
            if each.reason and (before is None or before.reason != each.reason):
                log.error(
                    "plugin.failed", plugin=name, reason=each.reason, predecessor_serves=each.provider is not None
                )
        for name in self._plugins.keys() | plugins.keys():
            now = plugins.get(name)
            if now is not None and now.connectable is not None and now.provider is not None:
                self._connectables.put(now.connectable)
            else:
                self._connectables.remove(namespace(name))
        self._plugins = dict(plugins)

    def put(self, plugin: ConfiguredPlugin) -> None:
        """Have this be the plugin of its name."""
        self.adopt({**self._plugins, plugin.name: plugin})

    def note_failure(self, name: str, reason: str, serving: Provider | None = None) -> bool:
        """Note that one did not start, and what serves instead; whether there is one of that name."""
        each = self._plugins.get(name)
        if each is None:
            return False
        self.put(replace(each, provider=serving, reason=reason))
        return True

    def check(self, name: str, section: PluginSection) -> None:
        """Have a plugin that this worker knows look at a section for it; of one that does not run, nothing is known.

        Raises:
            ConfigurationError: it refuses its configuration, naming each field and the reason.
        """
        known = self._plugins.get(name)
        if known is None or known.plugin is None or known.code is None:
            return
        plugin = known.plugin
        if section.isolation == "none" and known.code.point is not None:
            plugin = self._loader.declared(known.code, section, known.code.load())
        configured(plugin, section.config)

    async def made(self, configuration: Configuration, *, anew: Collection[str] = ()) -> dict[str, ConfiguredPlugin]:
        """The plugins of a configuration: those that did not change as they are, the others made, and not started.

        Args:
            anew: those whose code is to be read again.

        Raises:
            ConfigurationError: the configuration is wrong.
        """
        enabled = [name for name, section in configuration.plugins.items() if section.enabled]
        code = self.sources.find(enabled)
        read = {name: await self._read(code[name], configuration.plugins[name], name in anew) for name in enabled}
        needs = {name: each.plugin.dependencies for name, each in read.items() if each.plugin is not None}
        failed = {name for name, each in read.items() if each.provider is None and each.reason}
        order = start_order(needs, failed)
        made = {
            name: replace(each, reason=order.refused[name], provider=None) if name in order.refused else each
            for name, each in read.items()
        }
        for name in order.names:
            made[name] = self._provided(made[name])
        return {
            name: made.get(name) or ConfiguredPlugin(name, section)
            for name, section in _ordered(configuration.plugins, order.names)
        }

    async def _read(self, code: PluginCode, section: PluginSection, anew: bool) -> ConfiguredPlugin:
        """A plugin and what it says of itself; `key` is that of its section if it runs on as it is."""
        before, key = self._plugins.get(code.name), plugin_key(section)
        if before is not None and before.key == key and not anew and not before.reason:
            return replace(before, section=section)
        kept = before.provider if before is not None else None
        read = ConfiguredPlugin(code.name, section, code.where, code, provider=kept)
        known = before.plugin if before is not None else None
        again = anew or (known is not None and not callable(known.server))
        try:
            if section.isolation == "process":
                plugin, notes = await self._processes.described(code, section)
                return replace(read, plugin=plugin, notes=notes)
            # An import may take seconds, in which a worker that serves goes on.
            found = await asyncio.to_thread(code.load, anew=again) if self._plugins else code.load(anew=again)
            return replace(read, plugin=self._loader.declared(code, section, found))
        except ConfigurationError as error:
            return replace(read, plugin=known, reason=str(error))

    def _provided(self, read: ConfiguredPlugin) -> ConfiguredPlugin:
        if read.plugin is None or read.code is None or read.key or read.reason:
            return read
        try:
            connectable = self._credentials.connectable(read.plugin, read.section)
            provider: Provider = (
                self._processes.provider(read.plugin, read.code, read.section)
                if read.section.isolation == "process"
                else self._loader.provider(read.plugin, read.section)
            )
        except ConfigurationError as error:
            return replace(read, reason=str(error))
        return replace(read, provider=provider, connectable=connectable, key=plugin_key(read.section))


def _ordered(sections: Mapping[str, PluginSection], names: tuple[str, ...]) -> Iterator[tuple[str, PluginSection]]:
    """The sections in their order, but those that depend on others after these."""
    waiting = iter(names)
    for name, section in sections.items():
        if name in names:
            after = next(waiting)
            yield after, sections[after]
        else:
            yield name, section
