"""From a plugin's code and its section of the configuration to a provider.

First what a plugin says of itself is read (`PluginLoader.declared`), so that those that depend on each other can be put
in order; then each is made (`PluginLoader.provider`) with a context of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, ValidationError

from switchboard.common.validation_messages import complaints
from switchboard.config import PluginSection
from switchboard.errors import ConfigurationError, PluginFailure, plainly
from switchboard.identity import current
from switchboard.outbound_auth.asking import People
from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import Credentials, Plugin, PluginContext
from switchboard.plugins.connecting import ClientOf, Connecting, Unasked
from switchboard.plugins.discovery import PluginCode

MakeCredentials = Callable[[Plugin, PluginSection], Credentials]
"""Where a plugin's credentials are kept."""


class PluginLoader:
    """Makes plugins.

    Args:
        credentials: gives each plugin its own.
        people: how people are asked for what calls need of them.
        client: gives the client of a request, for that.
    """

    def __init__(self, credentials: MakeCredentials, people: People | None = None, client: ClientOf = Unasked) -> None:
        self._credentials = credentials
        self._people = people
        self._client = client

    @staticmethod
    def declared(code: PluginCode, section: PluginSection, found: object) -> Plugin:
        """What a plugin says of itself.

        Args:
            found: what its code gave; a factory is called.

        Raises:
            PluginFailure: that fails, or is something else than a plugin.
            ConfigurationError: the factory refuses the configuration.
        """
        said = f"{code.where} is"
        if not isinstance(found, Plugin) and callable(found):
            made = partial(found, section.config)
            found, said = _guarded(code.name, made), "the factory returned"
        if not isinstance(found, Plugin):
            raise PluginFailure(f"plugins.{code.name}: {said} {type(found).__name__}, not a Plugin")
        if found.name != code.name:
            raise PluginFailure(f"plugins.{code.name}: the plugin calls itself {found.name!r}; the names must be equal")
        return found

    def provider(self, plugin: Plugin, section: PluginSection) -> PluginProvider:
        """The plugin, made and ready to be started.

        Raises:
            ConfigurationError: its configuration is wrong, naming each field and the reason.
            PluginFailure: its code fails, or what it made cannot be mounted.
        """
        context = self.context(plugin, section)
        made = plugin.server
        if not isinstance(made, MCPServer):
            server = _guarded(plugin.name, partial(made, context))
            if not isinstance(server, MCPServer):
                raise PluginFailure(f"plugins.{plugin.name}: made {type(server).__name__}, not an MCPServer")
            made = server
        made_plugin = replace(plugin, server=made)
        credentials = self._credentials(plugin, section)
        connecting = Connecting(plugin.auth, credentials, self._people, self._client)
        return PluginProvider(made_plugin, context, prefix=section.prefix, connecting=connecting)

    def context(self, plugin: Plugin, section: PluginSection) -> PluginContext[Any]:
        """What a plugin gets at Switchboard by.

        Raises:
            ConfigurationError: its configuration is wrong.
        """
        return PluginContext(
            plugin.name,
            configured(plugin, section.config),
            structlog.get_logger(f"switchboard.plugins.{plugin.name}").bind(plugin=plugin.name),
            self._credentials(plugin, section),
            lambda: current().principal.person,
            plugin.auth,
        )


def configured(plugin: Plugin, written: Mapping[str, object]) -> BaseModel | Mapping[str, object]:
    """The configuration as the plugin's own model; as it is written if it has none.

    Raises:
        ConfigurationError: naming each field that is wrong, and why; never its value.
    """
    if plugin.config is None:
        return written
    try:
        return plugin.config.model_validate(written)
    except ValidationError as error:
        place = f"plugins.{plugin.name}.config"
        raise ConfigurationError(f"{place}: {complaints(error, 'the whole')}") from None
    except Exception as error:  # a boundary: a validator of the plugin's own
        raise PluginFailure(f"plugins.{plugin.name}: {type(error).__name__}: {plainly(error)}") from error


@dataclass(frozen=True)
class StartOrder:
    """In which order plugins are started."""

    names: tuple[str, ...]
    """Each after those that it depends on, and else in the order in which they were given."""

    refused: Mapping[str, str]
    """Those that cannot be started → why."""


def start_order(dependencies: Mapping[str, tuple[str, ...]], failed: Collection[str] = ()) -> StartOrder:
    """The order of plugins that depend on each other.

    Args:
        dependencies: plugin → those that have to run before it.
        failed: plugins that do not run.
    """
    done: dict[str, None] = {}
    refused: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = (*path[path.index(name) :], name)
            refused.update(dict.fromkeys(circle, f"plugins depend on each other in a circle: {' -> '.join(circle)}"))
        if name in done or name in refused:
            return
        for needed in dependencies[name]:
            if needed in dependencies:
                visit(needed, (*path, name))
            if name not in refused and (needed in failed or needed in refused):
                refused[name] = f"it depends on the plugin {needed!r}, which does not run"
            elif name not in refused and needed not in dependencies:
                refused[name] = (
                    f"it depends on the plugin {needed!r}, which is not enabled: set plugins.{needed}.enabled"
                )
        if name not in refused:
            done[name] = None

    for name in dependencies:
        visit(name, ())
    return StartOrder(tuple(done), refused)


def _guarded(name: str, call: Callable[[], object]) -> object:
    try:
        return call()
    except ConfigurationError:
        raise
    except BaseException as error:  # a boundary: the plugin's own code, which may call sys.exit()
        raise PluginFailure(f"plugins.{name}: {type(error).__name__}: {plainly(error)}") from error
