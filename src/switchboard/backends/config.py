"""What a backend is: how to reach it, for whom a connection is kept, and how much of it is put up with."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mcp_types import LoggingLevel

from switchboard.common.hosts import is_loopback
from switchboard.config import ConnectionScope, Era, Prefix
from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.credentials import NO_CREDENTIALS, OutboundCredentials

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Channel:
    """A socket that a child inherits, besides its standard streams."""

    variable: str
    """The variable of its environment with the socket's number."""

    serve: Callable[[socket.socket], Coroutine[Any, Any, None]]
    """Is given the other end, which it closes; cancelled when the child has ended."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """A child process that speaks on its standard streams."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the few variables that every child gets; the worker's own secrets never are."""

    cwd: str | None = None
    era: Era = "auto"
    """`auto` tries the handshake first: most servers know nothing else, and many never answer an unknown method."""

    own_cwd: bool = False
    """Whether the folder is one connection's own, and made when it is not there."""

    channel: Channel | None = field(default=None, repr=False, compare=False)
    """Of a child that is ours."""


@dataclass(frozen=True, slots=True)
class Http:
    """Streamable HTTP: one server under one URL or several."""

    urls: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    era: Era = "auto"
    """`auto` asks `server/discover` first. A server that elicits while it works wants `handshake`."""

    insecure: bool = False
    """Allow plain http to a host that is not this machine."""


@dataclass(frozen=True, slots=True)
class Sse:
    """HTTP+SSE, the transport of 2024-11-05."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    insecure: bool = False


Transport = Stdio | Http | Sse


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    start: float = 30.0
    """From starting a connection to its first answer; npm and pip may have to fetch first."""

    call: float = 60.0
    """Without an answer or a sign of progress. Time in which a person is asked something does not count."""

    idle: float = 300.0
    """A connection that nobody used for so long is closed."""

    refresh: float = 300.0
    """How often a backend is asked anew what it offers, should it not tell of a change by itself."""

    stop: float = 2.0
    """What a child gets to leave by itself, and again after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is put up with."""

    message_bytes: int = 8 * 1024 * 1024
    items: int = 2_000
    """Of each kind."""

    pages: int = 200
    definition_bytes: int = 128 * 1024
    offer_bytes: int = 8 * 1024 * 1024
    connections: int = 100
    """Connections of one worker to this backend."""

    connections_of_fleet: int = 1_000
    """Connections of all workers to it; those to one session count once."""

    connections_per_user: int = 10
    """One person's, on all workers."""


@dataclass(frozen=True)
class Backend:
    """Another MCP server, as the gateway is told to use it.

    Raises:
        ConfigurationError: naming the field.
    """

    name: str
    transport: Transport
    scope: ConnectionScope | None = None
    """For whom one connection is kept; `None` takes the safe default (`connection_key` has the rule)."""

    prefix: Prefix = "always"
    patience: Patience = field(default_factory=Patience)
    bounds: Bounds = field(default_factory=Bounds)
    log_level: LoggingLevel = "info"
    """Asked of the backend; what a client gets of it is up to its own level."""

    credentials: OutboundCredentials = NO_CREDENTIALS
    """What every request to it carries."""

    personal_offer: bool = False
    """Whether each person is offered what the backend offers to them, and the gateway itself asks for nothing."""

    @property
    def digest(self) -> str:
        """Equal for equal descriptions: what is kept for one is not found by another of the same name."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Its name in keys."""
        return f"{self.name}:{self.digest}"

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(f"mcpServers.{self.name}: a name is letters, digits, and - _ . in between")
        for url in urls(self.transport):
            self._check(url)
        if self.scope == "shared" and self.credentials.per_person:
            raise ConfigurationError(
                f"mcpServers.{self.name}.scope: 'shared' would have people act with each other's credentials; "
                "state 'user' or 'session', or nothing"
            )
        if isinstance(self.transport, Http) and not self.transport.urls:
            raise ConfigurationError(f"mcpServers.{self.name}.url: there is none")

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"mcpServers.{self.name}.url: {url!r} is not an http or https URL")
        allowed = not isinstance(self.transport, Stdio) and self.transport.insecure
        if parts.scheme == "http" and not allowed and not is_loopback(parts.hostname):
            raise ConfigurationError(
                f"mcpServers.{self.name}.url: plain http to {parts.hostname} can be read and changed on the way; "
                "use https, or set `insecure: true`"
            )


def urls(transport: Transport) -> tuple[str, ...]:
    """Where it is, if it has URLs."""
    if isinstance(transport, Http):
        return transport.urls
    return (transport.url,) if isinstance(transport, Sse) else ()
