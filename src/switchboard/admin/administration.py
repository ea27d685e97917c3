"""What the API stands on: the fleet's state, and what only a running worker knows, as callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from mcp.shared.exceptions import MCPError
from starlette.types import ASGIApp

from switchboard.audit import AuditLog
from switchboard.audit.reading import Verification
from switchboard.catalog import Catalog
from switchboard.config import PluginSection, ServerSection
from switchboard.config.watching import WatchedConfiguration
from switchboard.identity import Principal
from switchboard.identity.scopes import missing
from switchboard.outbound_auth.connectables import Connectable, Connectables
from switchboard.sessions.records import Records
from switchboard.sources.registry import Registry
from switchboard.state import State
from switchboard.tasks.store import Store
from switchboard.vault import Vault

READ: Final = "admin:read"
WRITE: Final = "admin"

Told = Mapping[str, Any]
"""How one worker is doing, as a document; see `Servers.tell`."""


class AskWorkers(Protocol):
    """Asks workers how they are doing, and tells them to do something."""

    async def __call__(
        self, question: Mapping[str, Any], workers: Sequence[str] | None = None
    ) -> Mapping[str, Told | None]:
        """By worker, what it answered; `None` for one that has a heartbeat and did not answer in time.

        Args:
            question: `{"restart": SERVER}`, `{"connections": SERVER}`, `{"drain": True}`, or nothing.
            workers: which; every living one if none is named.
        """
        ...


class Condition(Protocol):
    """How a server is doing."""

    @property
    def condition(self) -> Literal["starting", "ready", "failing"]: ...
    @property
    def reason(self) -> str: ...


class Offered(Protocol):
    """What it offers."""

    @property
    def tools(self) -> Sequence[object]: ...
    @property
    def resources(self) -> Sequence[object]: ...
    @property
    def prompts(self) -> Sequence[object]: ...


class TryServer(Protocol):
    """Starts or reaches a server that is of no configuration. Raises SwitchboardError if it cannot be started."""

    async def __call__(self, name: str, section: ServerSection, seconds: float) -> tuple[Condition, Offered]:
        """How it is doing, after so many seconds at most, and what it offers."""
        ...


class PersonsAccount(Protocol):
    """How a person stands at a server or plugin; never a secret."""

    @property
    def connectable(self) -> Connectable: ...
    @property
    def state(self) -> Literal["connected", "expired", "reconnect", "not_connected"]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def expires_at(self) -> float | None: ...
    @property
    def stored(self) -> frozenset[str]: ...
    @property
    def reason(self) -> str: ...


class AccountsOfPeople(Protocol):
    """Sees and ends what people have at servers and plugins. Raises `StateUnavailable` while the vault is away."""

    async def of(self, person: str, connectable: Connectable) -> PersonsAccount:
        """How a person stands at one."""
        ...

    async def take_back(self, person: str, connectable: Connectable, *, who: str | None = None) -> str:
        """Forget all that the person has there; what the person should know, or nothing."""
        ...


@dataclass(frozen=True)
class Administration:
    """Given by the composition root."""

    state: State
    watched: WatchedConfiguration
    fresh: Callable[[], Awaitable[Catalog]]
    """As `catalog`, with every change announced so far: a worker that no client asks has not looked at them yet."""

    catalog: Callable[[], Catalog]
    """All that is offered, as this worker has it."""

    absent: Callable[[str], MCPError | None]
    """Why there is no tool of a name, where that is known."""

    lacking: Callable[[Principal, frozenset[str]], frozenset[str]]
    """What a call of a tool that needs these scopes needs, where the principal's do not cover it; else nothing."""

    issuer: str
    """Of this server's own people; empty where nobody signs in."""

    ask_workers: AskWorkers
    ask_for_streams: AskWorkers
    """Asks workers what `StreamList.answer` takes."""

    records: Records
    """Of sessions."""

    tasks: Store
    """Where tasks are kept."""

    vault: Vault
    connectables: Connectables
    """What people connect to on this worker."""

    accounts: AccountsOfPeople

    audit: AuditLog
    verify_audit: Callable[[], Awaitable[Verification]]
    """Reads the whole audit log, and says what is wrong with it."""

    check_plugin: Callable[[str, PluginSection], None]
    """Has this worker's plugin of a name look at a section for it; raises ConfigurationError if it refuses that."""

    try_server: TryServer
    registry: Registry
    """Of MCP servers, for what could be added."""

    tag_key: bytes = field(repr=False)
    """Of entity tags: what they are made of may hold secrets, which nobody is to find by trying."""

    mcp: ASGIApp = field(repr=False)
    """The MCP endpoint, for whoever the current caller is; it answers whatever goes wrong."""

    mcp_url: str
    version: str
    everybody: bool
    """Whether nobody signs in, so that whoever reaches the server administrates it (`AUTH_MODE=none` on loopback)."""

    def allows(self, principal: Principal, scope: str) -> bool:
        """Whether somebody may do what needs a scope, `READ` or `WRITE`."""
        return self.everybody or not missing(principal.scopes, {scope})
