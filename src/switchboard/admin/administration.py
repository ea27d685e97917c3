"""What the API stands on: the fleet's state, and what only a running worker knows, as callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchboard.audit import AuditLog
from switchboard.catalog import Catalog
from switchboard.config.watching import WatchedConfiguration
from switchboard.sessions.service import SessionService
from switchboard.state import State

Told = Mapping[str, Any]
"""How one worker is doing, as a document; see `Servers.tell`."""


@dataclass(frozen=True)
class Administration:
    """Given by the composition root."""

    state: State
    watched: WatchedConfiguration
    catalog: Callable[[], Catalog]
    """All that is offered, as this worker has it."""

    ask_workers: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Told | None]]]
    """Asks every living worker, and tells it to do something: `{"restart": SERVER}`, `{"drain": True}`, or nothing.
    By worker, what it answered; `None` for one that has a heartbeat and did not answer in time."""

    ask_worker: Callable[[str, Mapping[str, Any]], Awaitable[Told | None]]
    """The same of one worker."""

    sessions: SessionService
    audit: AuditLog
    audit_keys: Sequence[bytes]
    """With which entries of the audit log are authenticated."""

    tag_key: bytes = field(repr=False)
    """Of entity tags: what they are made of may hold secrets, which nobody is to find by trying."""

    mcp_url: str
    version: str
    everybody: bool
    """Whether nobody signs in, so that whoever reaches the server administrates it (`AUTH_MODE=none` on loopback)."""
