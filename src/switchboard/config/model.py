"""The shape of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Prefix = Literal["always", "conflict", "never"]
"""When a provider's name stands before the names of its tools and prompts."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")

PluginName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class PluginSection(BaseModel):
    """One row of `plugins`."""

    model_config = _FROZEN

    enabled: bool = True
    prefix: Prefix = "always"
    config: Mapping[str, object] = Field(default_factory=dict)
    """Handed to the plugin as it is; only the plugin knows what it means."""


BUILT_IN: Mapping[str, PluginSection] = {
    "everything": PluginSection(prefix="never"),
    "conformance": PluginSection(enabled=False, prefix="never"),
}
"""What holds for plugins that the file does not mention, and beneath what it says of these."""


class Configuration(BaseModel):
    """The whole file."""

    model_config = _FROZEN

    separator: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,8}$")] = "__"
    """Stands between a provider's name and its tool's name."""

    plugins: Mapping[PluginName, PluginSection] = Field(default_factory=lambda: dict(BUILT_IN))
    """In the order in which plugins are asked and listed."""
