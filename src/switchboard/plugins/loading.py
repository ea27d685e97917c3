"""Finding plugins: an entry point names a factory, the configuration enables it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from switchboard.config import BUILT_IN, PluginSection
from switchboard.errors import ConfigurationError
from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import Plugin

ENTRY_POINTS = "switchboard.plugins"
"""The entry point group: `name = "package.module:factory"`, a factory being `(config) -> Plugin`."""

Factory = Callable[[Mapping[str, object]], Plugin]


def load(sections: Mapping[str, PluginSection] = BUILT_IN) -> tuple[PluginProvider, ...]:
    """A provider for each enabled section, in order. Nothing that is not enabled is imported.

    Raises:
        ConfigurationError: naming the plugin that is not installed, cannot be made, or is not fit to be mounted.
    """
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    enabled = {name: section for name, section in sections.items() if section.enabled}
    unknown = [name for name in enabled if name not in installed]
    if unknown:
        known = ", ".join(sorted(installed)) or "none"
        raise ConfigurationError(f"plugins.{unknown[0]}: no such plugin is installed; installed are: {known}")
    return tuple(provider(name, _factory(installed[name]), section) for name, section in enabled.items())


def provider(name: str, factory: Factory, section: PluginSection) -> PluginProvider:
    """Make one plugin from its section.

    Raises:
        ConfigurationError: the factory failed, returned something else, or the plugin cannot be mounted.
    """
    try:
        plugin = factory(section.config)
    except Exception as error:  # a boundary: whatever a stranger's factory raises is that plugin's configuration error
        raise ConfigurationError(f"plugins.{name}: {type(error).__name__}: {error}") from error
    if not isinstance(plugin, Plugin):
        raise ConfigurationError(f"plugins.{name}: the factory returned {type(plugin).__name__}, not a Plugin")
    if plugin.name != name:
        raise ConfigurationError(f"plugins.{name}: the plugin calls itself {plugin.name!r}; the names must be equal")
    return PluginProvider(plugin, prefix=section.prefix)


def _factory(point: EntryPoint) -> Factory:
    try:
        factory: Factory = point.load()
    except Exception as error:  # a boundary: importing a plugin runs its code
        raise ConfigurationError(f"plugins.{point.name}: {type(error).__name__}: {error}") from error
    return factory
