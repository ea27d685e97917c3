"""What the API stands on: the fleet's state, and what only a running worker knows, as callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from switchboard.audit import AuditLog
from switchboard.audit.reading import Verification
from switchboard.catalog import Catalog
from switchboard.config import PluginSection
from switchboard.config.watching import WatchedConfiguration
from switchboard.identity import Principal
from switchboard.identity.scopes import missing
from switchboard.sessions.records import Records
from switchboard.state import State

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
            question: `{"restart": SERVER}`, `{"drain": True}`, or nothing.
            workers: which; every living one if none is named.
        """
        ...


@dataclass(frozen=True)
class Administration:
    """Given by the composition root."""

    state: State
    watched: WatchedConfiguration
    catalog: Callable[[], Catalog]
    """All that is offered, as this worker has it."""

    ask_workers: AskWorkers
    records: Records
    """Of sessions."""

    audit: AuditLog
    verify_audit: Callable[[], Awaitable[Verification]]
    """Reads the whole audit log, and says what is wrong with it."""

    check_plugin: Callable[[str, PluginSection], None]
    """Has this worker's plugin of a name look at a section for it; raises ConfigurationError if it refuses that."""

    tag_key: bytes = field(repr=False)
    """Of entity tags: what they are made of may hold secrets, which nobody is to find by trying."""

    mcp_url: str
    version: str
    everybody: bool
    """Whether nobody signs in, so that whoever reaches the server administrates it (`AUTH_MODE=none` on loopback)."""

    def allows(self, principal: Principal, scope: str) -> bool:
        """Whether somebody may do what needs a scope, `READ` or `WRITE`."""
        return self.everybody or not missing(principal.scopes, {scope})
