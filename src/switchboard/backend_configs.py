"""Sections of the configuration as what makes providers of them: the description of a backend, and what tells it apart.

Part of the composition root: `config` does not know `backends`, nor they it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from switchboard.backends import Backend, Bounds, Http, Patience, Sse, Stdio
from switchboard.config import PluginSection, ServerSection
from switchboard.config.model import digest
from switchboard.outbound_auth.credentials import NO_CREDENTIALS, OutboundCredentials
from switchboard.sources import Launch

UNSHOWN: Final[Mapping[str, Any]] = {
    "enabled": True, "tags": (), "allow": (), "deny": (), "rename": {}, "tools": {}, "description": "",
}  # fmt: skip
"""What changes how a server is shown, and not the server: left out of what tells whether it changed."""


def plugin_key(section: PluginSection) -> str:
    """Equal for sections that make the same plugin, however it is shown."""
    return digest(section.model_copy(update={key: value for key, value in UNSHOWN.items() if key != "description"}))


def server_key(section: ServerSection) -> str:
    """Equal for sections that make the same server, however it is shown."""
    return digest(section.model_copy(update=UNSHOWN))


def backend(
    name: str, section: ServerSection, launch: Launch | None, credentials: OutboundCredentials = NO_CREDENTIALS
) -> Backend:
    """What `backends` is told about a server.

    Raises:
        ConfigurationError: it asks for what cannot be done.
    """
    return Backend(
        name,
        _transport(section, launch),
        section.scope,
        section.prefix,
        Patience(start=section.start_timeout, call=section.timeout, idle=section.idle_timeout),
        Bounds(
            message_bytes=section.message_bytes,
            items=section.definitions,
            pages=max(Bounds().pages, section.definitions // 10),
            definition_bytes=section.definition_bytes,
            offer_bytes=section.definitions_bytes,
            connections=section.connections,
            connections_per_user=section.connections_per_user,
            connections_of_fleet=section.connections_of_fleet,
        ),
        credentials=credentials,
    )


def _transport(section: ServerSection, launch: Launch | None) -> Stdio | Http | Sse:
    if launch is not None:
        cwd = str(launch.cwd) if launch.cwd is not None else None
        return Stdio(launch.command, launch.args, dict(launch.env), cwd, era=section.era)
    if section.transport == "sse" or (section.transport is None and _ends_in_sse(section.addresses)):
        return Sse(section.addresses[0], dict(section.headers), section.insecure)
    return Http(section.addresses, dict(section.headers), section.era, section.insecure)


def _ends_in_sse(addresses: tuple[str, ...]) -> bool:
    """Whether it is the one address at which servers of the older transport are found."""
    return len(addresses) == 1 and urlsplit(addresses[0]).path.rstrip("/").endswith("/sse")
