"""What the configuration commands stand on: the settings' file and variables, and the fleet's state."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from switchboard.config import Configuration
from switchboard.config.files import folder, layers, validated
from switchboard.config.layers import OVERRIDES, Layer, variables
from switchboard.config.overlay import Overlay
from switchboard.errors import ConfigurationError
from switchboard.plugins import PluginSources
from switchboard.settings import Settings, load_settings
from switchboard.sources import SourceContext, lacking
from switchboard.state import State, open_state

FileOption = Annotated[Path | None, typer.Option("--config", help="Configuration file [CONFIG_FILE].")]


@dataclass(frozen=True)
class ConfigurationContext:
    """Settings, and what the configuration is made of."""

    settings: Settings
    file: Path | None
    variables: Mapping[str, str]

    def written(self, overlay: Sequence[Mapping[str, Any]] = ()) -> tuple[Layer, ...]:
        """The layers, with these of the fleet's overlay."""
        plugins = PluginSources(self.settings.plugins_dir).in_folder()
        return layers(self.file, self.variables, overlay=overlay, plugins=plugins)

    def configuration(self, overlay: Sequence[Mapping[str, Any]] = ()) -> Configuration:
        """The configuration, as it would be in force with this overlay."""
        return validated(self.written(overlay), self.variables, folder(self.file))

    def lacking(self, found: Configuration) -> list[str]:
        """What this machine lacks to start the servers of a configuration, a line each."""
        context = SourceContext(self.settings.cache_dir, self.variables, folder(self.file))
        return [
            f"mcpServers.{name}: {said}"
            for name, section in found.servers.items()
            if section.enabled
            for said in lacking(section, context)
        ]

    def editable(self) -> Path:
        """The file to edit.

        Raises:
            ConfigurationError: none is named.
        """
        if self.file is None:
            raise ConfigurationError("there is no configuration file: name one as --config or CONFIG_FILE")
        return self.file


def configuration_context(config: Path | None) -> ConfigurationContext:
    """Read the settings."""
    settings = load_settings(config_file=config)
    known = {**variables(os.environ), OVERRIDES: settings.config_overrides}
    return ConfigurationContext(settings, settings.config_file, known)


@asynccontextmanager
async def fleet(settings: Settings) -> AsyncIterator[State]:
    """The state that the running workers share.

    Raises:
        ConfigurationError: they share none: with `memory://` nobody outside the worker can ask it.
    """
    if settings.state_url is None:
        raise ConfigurationError("REDIS_URL is not set: a running worker with memory:// cannot be asked from outside")
    async with open_state(settings.state_url, prefix=settings.redis_prefix) as state:
        yield state


async def overlaid(settings: Settings) -> tuple[Mapping[str, Any], ...]:
    """The fleet's overlay as patches; none where there is no fleet."""
    if settings.state_url is None:
        return ()
    async with fleet(settings) as state:
        return (await Overlay(state).read()).patches
