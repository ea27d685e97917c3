"""The shape of the configuration file."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter, ValidationInfo, model_validator

from switchboard.config.exposure import STRICT, Exposure, Name, Pattern, Prefix, matching
from switchboard.config.servers import ServerSection

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "Configuration",
    "PluginLimits",
    "PluginSection",
    "Prefix",
    "Preset",
    "ToolSearch",
    "provider_name",
]

ENTRY_POINTS = "switchboard.plugins"
"""The entry point group of plugins: `name = "package.module:factory"`, a factory being `(config) -> Plugin`."""

PluginName = Annotated[
    str, matching(r"^[a-z0-9][a-z0-9-]{0,63}$", "may have small letters, digits and hyphens only, 64 at most")
]
ServerName = Annotated[str, matching(r"^[^\x00-\x1f\x7f]{1,64}$", "must be a text of 1 to 64 characters on one line")]

SERVER_NAME: TypeAdapter[str] = TypeAdapter(ServerName)


class PluginLimits(BaseModel):
    """What the process of a plugin may use."""

    model_config = STRICT

    memory_mb: Annotated[int, Field(ge=256, le=65_536)] = 1024
    """MiB of address space."""

    cpu_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3600
    """Seconds of processor time, after which it is ended, and started anew for the next call."""

    open_files: Annotated[int, Field(ge=32, le=65_536)] = 256
    """Files and connections that it may have open."""


class PluginSection(Exposure):
    """One row of `plugins`."""

    config: Annotated[Mapping[str, object], Field(repr=False)] = Field(default_factory=dict)
    """Handed to the plugin, which knows what it means."""

    auth: Annotated[Mapping[str, object], Field(repr=False)] = Field(default_factory=dict)
    """Of a plugin that people sign in for: its OAuth provider's `client_id` and `client_secret`, or another `provider`,
    `issuer` or URLs. Laid over what the plugin says."""

    isolation: Literal["none", "process"] = "none"
    """`process`: it runs in a process of its own, which has its own credentials and none of the gateway's secrets."""

    limits: PluginLimits = PluginLimits()
    """What that process may use."""


DEMO = "everything"
"""The plugin that shows what there is in MCP; it steps back once the file names servers."""

BUILT_IN: Mapping[str, PluginSection] = {DEMO: PluginSection(prefix="never")}
"""What holds for plugins that the file does not mention, and beneath what it says of these."""


class Preset(BaseModel):
    """A named selection: `/mcp?preset=NAME`. What is given must all hold."""

    model_config = STRICT

    description: str = ""
    """For people; shown by `presets list`."""

    tags: (
        Annotated[
            str,
            matching(
                r"^!?[\w.-]+(,\s*!?[\w.-]+)*$",
                "must be tags separated by commas, each with '!' before it where it is left out",
            ),
        ]
        | None
    ) = None
    """A tag expression: `web,docs` is either of them, `!danger` leaves out, and `web,!danger` is both."""

    servers: tuple[ServerName, ...] = ()
    """Plugins and servers, by name; none means all."""

    allow: tuple[Pattern, ...] = ()
    """Patterns as elsewhere, but held against the names that clients see."""

    deny: tuple[Pattern, ...] = ()
    """What is left out; stronger than `allow`."""

    tool_search: bool | None = None
    """Lets clients of this preset search for tools instead of listing them all; else what `tool_search` says."""


class ToolSearch(BaseModel):
    """`discover_tools`: instead of a long list, clients get a tool that finds tools."""

    model_config = STRICT

    enabled: bool = False
    """Whether clients search."""

    above_tokens: Annotated[int, Field(ge=0)] = 0
    """Only when the list would cost a model more than about this many tokens."""

    keep: tuple[Pattern, ...] = ()
    """Tools that stay listed, by the names that clients see."""


@dataclass(frozen=True)
class RowFault:
    """What is wrong with a row."""

    reason: str
    """A line for each mistake, with its place."""

    unset: bool = False
    """Whether all that is wrong is a reference to what is not set: the file itself may be right."""


class Configuration(BaseModel):
    """The whole file."""

    model_config = STRICT

    schema_url: Annotated[str | None, Field(alias="$schema")] = None
    """For editors."""

    separator: Annotated[
        str, matching(r"^[A-Za-z0-9_.-]{1,8}$", "may have letters, digits, '_', '.' and '-' only, 8 at most")
    ] = "__"
    """Stands between a provider's name and its tool's name."""

    plugins: Mapping[PluginName, PluginSection] = Field(default_factory=lambda: dict(BUILT_IN))
    """In the order in which plugins are asked and listed."""

    servers: Annotated[Mapping[ServerName, ServerSection], Field(alias="mcpServers")] = Field(default_factory=dict)
    """Other MCP servers, in the shape that desktop clients use; listed after the plugins, in order."""

    presets: Mapping[Name, Preset] = Field(default_factory=dict)
    """Named selections of what there is."""

    tool_search: ToolSearch = ToolSearch()
    """Finding tools instead of listing them."""

    _broken: Mapping[str, RowFault] = PrivateAttr(default_factory=dict)

    @property
    def broken(self) -> Mapping[str, RowFault]:
        """Servers that the file names and that are not there → what is wrong with their rows."""
        return self._broken

    def keeping(self, before: Configuration) -> Configuration:
        """With what was in force `before` of the servers whose rows are wrong now, where they were in their order."""
        kept = {name: before.servers[name] for name in self.broken if name in before.servers}
        if not kept:
            return self
        made = self.model_copy(update={"servers": {**self.servers, **kept}})
        made._broken = self._broken
        return made

    @property
    def digest(self) -> str:
        """Equal for equal configurations, on every worker."""
        return digest(self)

    @model_validator(mode="after")
    def _names_are_unique_and_known(self, info: ValidationInfo) -> Configuration:
        self._broken = (info.context or {}).get("broken", {})
        servers = [provider_name(name) for name in self.servers]
        names = Counter([*(name for name in self.plugins if name not in servers), *servers])
        doubled = [name for name, times in names.items() if times > 1]
        if doubled:
            raise ValueError(f"two servers would both be called {doubled[0]!r}")
        both = [name for name, plugin in self.plugins.items() if plugin.enabled and name in servers]
        if both:
            raise ValueError(
                f"a plugin and a server would both be called {both[0]!r}: rename the server, or switch the plugin off "
                f"with plugins.{both[0]}.enabled: false"
            )
        for preset, each in self.presets.items():
            unknown = [name for name in each.servers if provider_name(name) not in names and name not in self.broken]
            if unknown:
                raise ValueError(f"presets.{preset}.servers: there is no plugin or server {unknown[0]!r}")
        return self


def provider_name(server: str) -> str:
    """A server's name as it can stand in the name of a tool: desktop clients allow any text.

    Latin letters lose their accents. Letters of other scripts cannot be kept: a digest of the name stands for them, so
    that two servers never get one name by that.
    """
    plain = "".join(each for each in unicodedata.normalize("NFKD", server) if not unicodedata.combining(each))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-._")
    lossy = not name or any(each.isalnum() and not each.isascii() for each in plain)
    return f"{name or 'server'}-{hashlib.sha256(server.encode()).hexdigest()[:6]}" if lossy else name


def digest(section: BaseModel) -> str:
    """Equal for equal sections."""
    text = json.dumps(section.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
