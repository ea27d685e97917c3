"""`/api/audit`: the audit log, newest first, and whether its chains are whole."""

from __future__ import annotations

import re
from typing import Annotated, Final, cast

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.administration import Administration
from switchboard.admin.paging import Limit
from switchboard.admin.problems import Mistake, Problem
from switchboard.audit.entries import CHAIN, MAC, NUMBER, PREVIOUS, faults

ENTRY_ID: Final = re.compile(r"(?!0+-0+\Z)[0-9]{1,19}-[0-9]{1,19}")
"""Never 0-0, which Redis has nothing before."""

AT_ONCE: Final = 1_000
MOST_FAULTS: Final = 1_000
"""Lines of what is wrong that one answer has."""

Entries = list[tuple[str, dict[str, str]]]


class AuditEntry(BaseModel):
    """One event."""

    id: str
    at: float
    """Unix seconds, by the clock of the fleet."""
    event: str
    who: str
    what: str
    outcome: str
    more: dict[str, str] = {}


class AuditPage(BaseModel):
    """Events, the newest first."""

    items: list[AuditEntry]
    next_before: str | None = None
    """For `before`, to see older ones."""


class Verdict(BaseModel):
    """Whether the log is as it was written."""

    entries: int
    faults: list[str]
    """What is wrong, a line each; none if nothing is."""


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/audit", tags=["audit"])
    state = administration.state

    @router.get("")
    async def list_entries(
        limit: Limit = 100,
        before: Annotated[str, Query(max_length=40, description="`next_before` of the page before.")] = "",
        event: Annotated[str, Query(max_length=100, description="Only events of this name.")] = "",
        who: Annotated[str, Query(max_length=1024, description="Only what this person did.")] = "",
    ) -> AuditPage:
        """What was done, to what, by whom, and how it ended."""
        if before and not ENTRY_ID.fullmatch(before):
            raise Problem(
                422, "before is not valid", mistakes=[Mistake(where="query.before", reason="not an id of ours")]
            )
        found: list[AuditEntry] = []
        end = f"({before}" if before else "+"
        while len(found) <= limit:
            with state.guard():
                part = cast("Entries", await state.redis.xrevrange(state.keys.audit(), end, "-", count=AT_ONCE))
            wanted = [each for each in part if event in ("", each[1].get("event")) and who in ("", each[1].get("who"))]
            found += [_entry(id_, fields) for id_, fields in wanted]
            if len(part) < AT_ONCE:
                break
            end = f"({part[-1][0]}"
        shown = found[:limit]
        return AuditPage(items=shown, next_before=shown[-1].id if len(found) > limit else None)

    @router.get("/check")
    async def check_entries() -> Verdict:
        """Whether an entry was changed, put in, or taken out between two others."""
        entries: Entries = []
        start = "-"
        while True:
            with state.guard():
                part = cast("Entries", await state.redis.xrange(state.keys.audit(), start, "+", count=AT_ONCE))
            entries += part
            if len(part) < AT_ONCE:
                break
            start = f"({part[-1][0]}"
        found = list(faults(entries, administration.audit_keys))
        return Verdict(entries=len(entries), faults=found[:MOST_FAULTS])

    return router


def _entry(id_: str, fields: dict[str, str]) -> AuditEntry:
    named = ("event", "at", "who", "what", "outcome")
    more = {key: value for key, value in fields.items() if key not in (*named, CHAIN, NUMBER, PREVIOUS, MAC)}
    known = {key: fields.get(key, "") for key in named}
    return AuditEntry(id=id_, **{**known, "at": float(known["at"] or 0)}, more=more)
