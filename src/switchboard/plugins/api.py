"""The plugin API: everything a plugin author needs, in this one file.

A plugin is an SDK `MCPServer` with a name and a lifecycle. It is found through the entry point group
`switchboard.plugins`; the entry point is a function `(config: Mapping[str, object]) -> Plugin`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mcp.server.mcpserver import MCPServer
from mcp.shared.subscriptions import ServerEvent
from mcp_types import LoggingLevel

Kind = Literal["tools", "resources", "templates", "prompts"]
"""The four things that can be listed."""

TaskSupport = Literal["optional", "required"]
"""Whether a tool that takes long may be run as a task, or cannot be served to a client that knows no tasks."""

TASK_SUPPORT = "switchboard/taskSupport"
"""The key in a tool's `_meta` that says so: `server.add_tool(fn, meta={TASK_SUPPORT: "optional"})`."""


class OpenStream(Protocol):
    """A stream that a client holds open on this worker: a handshake session's GET, or a modern listen stream."""

    @property
    def era(self) -> Literal["handshake", "modern"]:
        """Which protocol era the client speaks."""
        ...

    @property
    def log_level(self) -> LoggingLevel | None:
        """The least severe level the client takes on this stream; `None` when the stream cannot carry log messages."""
        ...

    @property
    def subscriptions(self) -> frozenset[str]:
        """The resource URIs the client subscribed to, as last known."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification on this stream; dropped when the stream has ended, or may not carry it."""
        ...


class Host(Protocol):
    """What Switchboard offers a running plugin."""

    @property
    def worker(self) -> str:
        """This worker's id, minted after the process was forked."""
        ...

    @property
    def state(self) -> str:
        """Where shared state lives: `memory://` or `redis`."""
        ...

    def streams(self) -> Iterable[OpenStream]:
        """The streams open on this worker now; safe to iterate while streams come and go."""
        ...

    async def publish(self, event: ServerEvent) -> None:
        """Tell every interested client of both eras, on every worker, that something changed."""
        ...


@asynccontextmanager
async def _no_lifecycle(_host: Host) -> AsyncIterator[None]:
    yield


@dataclass(frozen=True)
class Plugin:
    """One in-process provider of tools, resources and prompts."""

    name: str
    """Lower-case letters, digits and hyphens; the default prefix of what it offers."""

    version: str
    """The plugin's own version, shown to operators."""

    server: MCPServer[Any]
    """The SDK server whose handlers are called in this process."""

    running: Callable[[Host], AbstractAsyncContextManager[None]] = _no_lifecycle
    """Entered once per worker after start-up and left at shutdown: start background work here, in a task group."""

    page_sizes: Mapping[Kind, int] = field(default_factory=dict)
    """How many items a page of a list should hold at most, for lists that this plugin contributes to."""
