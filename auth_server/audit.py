"""The audit trail of authorization: what was granted, refused and revoked, with client context and never a secret."""

from __future__ import annotations

import structlog

from auth_server.crypto import KeyRing
from auth_server.store.connection import Connection
from switchboard.errors import StateUnavailable

KEPT = 10_000
_MAX_FIELD = 200
"""Bytes of each field."""

log = structlog.get_logger("auth_server.audit")


class Audit:
    """Writes each event to the log, and to a bounded stream in Redis that operators can read."""

    def __init__(self, connection: Connection, ring: KeyRing) -> None:
        self._connection = connection
        self._ring = ring

    async def record(self, event: str, *, subject: str = "", **about: str) -> None:
        """Note one event. Losing the stream's copy while Redis is away does not fail the request: the log has it."""
        fields = {name: _cut(value) for name, value in about.items() if value}
        if "family" in fields:  # which is a part of each of its tokens
            fields["family"] = self._ring.mac("audit family", about["family"])[:12]
        user = self._ring.mac("audit user", subject)[:12] if subject else ""
        log.info(event, user=user, **fields)
        try:
            async with self._connection.commands() as redis:
                entry = {"event": event, "subject": _cut(subject), **fields}
                await redis.xadd(self._connection.keys.name("audit"), entry, maxlen=KEPT, approximate=True)
        except StateUnavailable:
            log.warning("audit_stream.failed", about=event)


def _cut(text: str) -> str:
    return text.encode(errors="replace")[:_MAX_FIELD].decode(errors="ignore")
