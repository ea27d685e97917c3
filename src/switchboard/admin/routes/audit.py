"""`/api/audit`: the audit log, newest first, and whether its chains are whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from switchboard.admin.administration import Administration
from switchboard.admin.paging import Limit
from switchboard.admin.problems import Mistake
from switchboard.audit.exporting import Format, lines
from switchboard.audit.reading import PAGE, older, shown
from switchboard.common.problem_details import Problem
from switchboard.state import State

ENTRY_ID: Final = re.compile(r"(?!0+-0+\Z)[0-9]{1,19}-[0-9]{1,19}")
"""Never 0-0, which Redis has nothing before."""

MOST_FAULTS: Final = 1_000
"""Lines of what is wrong that one answer has."""


MOST_EXPORTED: Final = 1_000
MOST_EXPORTED_BYTES: Final = 300_000
"""Of one answer with lines."""


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
        _valid(before)
        found: list[AuditEntry] = []
        part = await older(state, before)
        while True:
            wanted = [each for each in part if event in ("", each[1].get("event")) and who in ("", each[1].get("who"))]
            found += [_entry(id_, fields) for id_, fields in wanted]
            if len(found) > limit or len(part) < PAGE:
                break
            part = await older(state, part[-1][0])
        items = found[:limit]
        return AuditPage(items=items, next_before=items[-1].id if len(found) > limit else None)

    @router.get("/export", response_class=PlainTextResponse)
    async def export_entries(
        form: Annotated[Format, Query(alias="format", description="JSON lines, or CEF.")] = "jsonl",
        limit: Annotated[int, Query(ge=1, le=MOST_EXPORTED)] = MOST_EXPORTED,
        before: Annotated[str, Query(max_length=40, description="`Next-Before` of the part before.")] = "",
    ) -> PlainTextResponse:
        """Entries as lines for another system, the newest first; `Next-Before` is the `before` of older ones."""
        text, following = await exported(state, form, administration.version, before, limit)
        media_type = "application/x-ndjson" if form == "jsonl" else "text/plain"
        return PlainTextResponse(text, headers={"Next-Before": following} if following else {}, media_type=media_type)

    @router.get("/check")
    async def check_entries() -> Verdict:
        """Whether an entry was changed, put in, or taken out between two others."""
        found = await administration.verify_audit()
        return Verdict(entries=found.entries, faults=list(found.faults[:MOST_FAULTS]))

    return router


async def exported(state: State, form: Format, version: str, before: str, limit: int) -> tuple[str, str]:
    """Lines of the entries before an id (of the newest if it is empty), and the id before which the next part begins.

    It is empty after the last part. A part has at most about 300 KB, and at least one entry.

    Raises:
        Problem: 422, that is no id.
        StateUnavailable: Redis cannot be asked now.
    """
    _valid(before)
    found = await older(state, before, limit + 1)
    said: list[str] = []
    size = 0
    for entry in found[:limit]:
        line = lines([entry], form, version)
        size += len(line.encode())
        if said and size > MOST_EXPORTED_BYTES:
            break
        said.append(line)
    return "".join(said), found[len(said) - 1][0] if len(said) < len(found) else ""


def _valid(before: str) -> None:
    if before and not ENTRY_ID.fullmatch(before):
        raise Problem(422, "before is not valid", mistakes=[Mistake(where="query.before", reason="not an id of ours")])


def _entry(id_: str, entry: Mapping[str, str]) -> AuditEntry:
    fields = dict(shown(entry))
    known = {key: fields.pop(key, "") for key in ("event", "at", "who", "what", "outcome")}
    return AuditEntry(id=id_, **{**known, "at": float(known["at"] or 0)}, more=fields)
