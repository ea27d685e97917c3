"""A task as it is stored, and as clients see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

EXTENSION: Final = "io.modelcontextprotocol/tasks"

Status = Literal["working", "input_required", "completed", "failed", "cancelled"]

ENDED: Final[frozenset[Status]] = frozenset({"completed", "failed", "cancelled"})

POLL_MS: Final = 1_000
"""How often a client should ask; one that wants to know sooner listens."""


def now() -> str:
    """The time as the specification writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Record:
    """What is known of a task."""

    id: str
    owner: str
    """The principal that created it; nobody else ever learns that it exists."""

    worker: str
    """Which worker runs it."""

    status: Status
    created: str
    updated: str
    ttl_ms: int
    message: str = ""
    outcome: Mapping[str, Any] | None = None
    """The result of a completed task, the error of a failed one."""

    asks: Mapping[str, Any] = field(default_factory=dict)
    """Questions that the client has not answered yet."""

    tool: str = ""
    """What was called, by the name that clients use."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED

    @classmethod
    def read(cls, task: str, fields: Mapping[str, str], asks: Mapping[str, str]) -> Record:
        """The record that Redis has."""
        stored = fields.get("outcome")
        return cls(
            id=task,
            owner=fields["owner"],
            worker=fields["worker"],
            status=fields["status"],  # type: ignore[arg-type]  # only this room writes it
            created=fields["created"],
            updated=fields["updated"],
            ttl_ms=int(fields["ttl"]),
            message=fields.get("message", ""),
            outcome=json.loads(stored) if stored else None,
            asks={key: json.loads(ask) for key, ask in asks.items()},
            tool=fields.get("tool", ""),
        )

    def fields(self) -> dict[str, str]:
        """As Redis keeps it; what is asked is kept beside it."""
        return {
            "owner": self.owner,
            "worker": self.worker,
            "status": self.status,
            "created": self.created,
            "updated": self.updated,
            "ttl": str(self.ttl_ms),
            "tool": self.tool,
        }

    def seed(self) -> dict[str, Any]:
        """`Task`: what the answer to the call that became a task carries."""
        told: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": self.ttl_ms,
            "pollIntervalMs": POLL_MS,
        }
        return {**told, "statusMessage": self.message} if self.message else told

    def detailed(self) -> dict[str, Any]:
        """`DetailedTask`: with what its status calls for."""
        if self.status == "input_required":
            return {**self.seed(), "inputRequests": dict(self.asks)}
        if self.status == "completed":
            return {**self.seed(), "result": self.outcome}
        if self.status == "failed":
            return {**self.seed(), "error": self.outcome}
        return self.seed()
