"""Finding plugins: an entry point names a factory, the configuration enables it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from switchboard.config import BUILT_IN, PluginSection
from switchboard.config.model import ENTRY_POINTS
from switchboard.errors import ConfigurationError
from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import Plugin

Factory = Callable[[Mapping[str, object]], Plugin]


def load(sections: Mapping[str, PluginSection] = BUILT_IN) -> tuple[PluginProvider, ...]:
    """A provider for each enabled section, in order. Nothing that is not enabled is imported.

    Raises:
        ConfigurationError: naming the plugin that is not installed, cannot be made, or is not fit to be mounted.
    """
    enabled = {name: section for name, section in sections.items() if section.enabled}
    installed = found(enabled)
    return tuple(provider(name, _factory(installed[name]), section) for name, section in enabled.items())


def found(names: Iterable[str]) -> Mapping[str, EntryPoint]:
    """Where plugins are; nothing is imported.

    Raises:
        ConfigurationError: naming the first that is not installed, and those that are.
    """
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    unknown = next((name for name in names if name not in installed), None)
    if unknown is not None:
        known = ", ".join(sorted(installed)) or "none"
        raise ConfigurationError(f"plugins.{unknown}: no such plugin is installed; installed are: {known}")
    return installed


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
