"""Writes the audit log to a stream in Redis, beside the look-ups of the request, without waiting for it.

What Redis did not take is kept, bounded, and sent again with the next entry. What is lost after all is in the log of
the process. The access itself does not fail for that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import structlog

from switchboard.audit.entries import Chain, signing_key
from switchboard.state import State

MAX_UNSENT: Final = 1_000
"""Entries that are kept while Redis is away."""

TRIM_EVERY: Final = 256
"""Entries, after which those that are too old are removed."""

FLUSH_S: Final = 2.0

log = structlog.get_logger("switchboard.audit")


class AuditLog(Protocol):
    """Takes what has to be accounted for."""

    def record(self, event: str, *, who: str, what: str, outcome: str, **fields: str) -> None:
        """Note one event. Never raises, and never waits.

        Args:
            event: what happened, as `noun.verb_past`.
            who: did it: a person as a JSON array, or `gateway`.
            what: it was done to.
            outcome: `ok`, or why not.
            fields: further ones, none of them secret; empty ones are left out.
        """
        ...

    async def flush(self) -> None:
        """Wait until what was noted has been taken, for FLUSH_S at most."""
        ...


class NoAuditLog:
    """Nothing is audited. Satisfies `AuditLog`."""

    def record(self, event: str, *, who: str, what: str, outcome: str, **fields: str) -> None:
        """See `AuditLog`."""

    async def flush(self) -> None:
        """See `AuditLog`."""


class RedisAuditLog:
    """The audit log in the fleet's shared state. Satisfies `AuditLog`.

    Args:
        secret_keys: SECRET_KEY, the newest first.
        writer: this process, by name.
        entries: how many are kept.
        days: for how long.
    """

    def __init__(
        self,
        state: State,
        secret_keys: Sequence[str],
        writer: str,
        *,
        entries: int,
        days: int,
    ) -> None:
        self._state = state
        self._stream = state.keys.audit()
        self._chain = Chain(signing_key(secret_keys[0]), writer)
        self._entries = entries
        self._kept_ms = days * 86_400_000
        self._until_trim = 0
        self._asked: set[asyncio.Future[Any]] = set()
        self._unsent: deque[Mapping[str, str]] = deque()

    def record(self, event: str, *, who: str, what: str, outcome: str, **fields: str) -> None:
        """See `AuditLog`."""
        at = f"{self._state.clock():.3f}"
        said = {"event": event, "at": at, "who": who, "what": what, "outcome": outcome, **fields}
        self._send(self._chain.link({name: value for name, value in said.items() if value}))
        self._until_trim -= 1
        if self._until_trim < 0:
            self._until_trim = TRIM_EVERY
            oldest = int(self._state.clock() * 1000) - self._kept_ms
            trimmed = self._state.lookups.ask("XTRIM", self._stream, "MINID", "~", max(0, oldest))
            self._asked.add(trimmed)
            trimmed.add_done_callback(self._asked.discard)

    async def flush(self) -> None:
        """See `AuditLog`."""
        if self._asked:
            await asyncio.wait(self._asked, timeout=FLUSH_S)

    def _send(self, entry: Mapping[str, str]) -> None:
        pairs = (part for pair in entry.items() for part in pair)
        asked = self._state.lookups.ask("XADD", self._stream, "MAXLEN", "~", self._entries, "*", *pairs)
        self._asked.add(asked)
        asked.add_done_callback(partial(self._sent, entry))

    def _sent(self, entry: Mapping[str, str], asked: asyncio.Future[Any]) -> None:
        self._asked.discard(asked)
        error = None if asked.cancelled() else asked.exception()
        if error is None:
            waiting, self._unsent = self._unsent, deque()
            for each in waiting:
                self._send(each)
            return
        self._unsent.append(entry)
        if len(self._unsent) > MAX_UNSENT:
            log.warning("audit_entry.lost", error=str(error), entry=dict(self._unsent.popleft()))


@asynccontextmanager
async def open_audit_log(
    state: State | None,
    secret_keys: Sequence[str],
    writer: str,
    *,
    entries: int,
    days: int,
) -> AsyncIterator[AuditLog]:
    """The audit log for as long as the block runs; none without shared state, or without entries to keep."""
    if state is None or not entries:
        yield NoAuditLog()
        return
    audit = RedisAuditLog(state, secret_keys, writer, entries=entries, days=days)
    try:
        yield audit
    finally:
        await audit.flush()
