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
from switchboard.audit.reading import PAGE, Log, older, shown
from switchboard.common.problem_details import Problem
from switchboard.state import State

ENTRY_ID: Final = re.compile(r"(?!0+-0+\Z)[0-9]{1,19}-[0-9]{1,19}")
"""Never 0-0, which Redis has nothing before."""

MOST_FAULTS: Final = 1_000
"""Lines of what is wrong that one answer has."""


MOST_SEARCHED: Final = 20_000
"""Entries that are read for one page."""

WORST_BYTES: Final = 2
"""Bytes of an answer for a character of an entry: quotes in it are escaped."""

WhichLog = Annotated[
    Log, Query(description="`changes` and uses of credentials, or `calls` of tools, reads of resources and prompts.")
]

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
        log: WhichLog = "changes",
        event: Annotated[str, Query(max_length=100, description="Only events of this name.")] = "",
        who: Annotated[str, Query(max_length=1024, description="Only what this person did.")] = "",
        what: Annotated[str, Query(max_length=512, description="Only what was done to this.")] = "",
        outcome: Annotated[str, Query(max_length=512, description="Only what ended so; `!ok` is all else.")] = "",
        backend: Annotated[str, Query(max_length=64, description="Only calls of this server or plugin.")] = "",
    ) -> AuditPage:
        """What was done, to what, by whom, and how it ended. A page of few matches may end before it is full."""
        _valid(before)
        wanted = {"event": event, "who": who, "what": what, "outcome": outcome, "backend": backend}
        found, following = await _page(state, log, before, limit, {key: said for key, said in wanted.items() if said})
        return AuditPage(items=found, next_before=following or None)

    @router.get("/export", response_class=PlainTextResponse)
    async def export_entries(
        form: Annotated[Format, Query(alias="format", description="JSON lines, or CEF.")] = "jsonl",
        limit: Annotated[int, Query(ge=1, le=MOST_EXPORTED)] = MOST_EXPORTED,
        before: Annotated[str, Query(max_length=40, description="`Next-Before` of the part before.")] = "",
        log: WhichLog = "changes",
    ) -> PlainTextResponse:
        """Entries as lines for another system, the newest first; `Next-Before` is the `before` of older ones."""
        text, following = await exported(state, form, administration.version, before, limit, log)
        media_type = "application/x-ndjson" if form == "jsonl" else "text/plain"
        return PlainTextResponse(text, headers={"Next-Before": following} if following else {}, media_type=media_type)

    @router.get("/check")
    async def check_entries() -> Verdict:
        """Whether an entry was changed, put in, or taken out between two others."""
        found = await administration.verify_audit()
        return Verdict(entries=found.entries, faults=list(found.faults[:MOST_FAULTS]))

    return router


async def _page(
    state: State, log: Log, before: str, limit: int, wanted: Mapping[str, str]
) -> tuple[list[AuditEntry], str]:
    """The entries of a page, and the id before which the next begins; none after the last."""
    found: list[AuditEntry] = []
    size, last = 0, before
    for _ in range(MOST_SEARCHED // PAGE):
        part = await older(state, last, log=log)
        for id_, fields in part:
            if all(_is(fields.get(name, ""), said) for name, said in wanted.items()):
                size += sum(map(len, fields.values())) * WORST_BYTES
                if len(found) == limit or (found and size > MOST_EXPORTED_BYTES):
                    return found, last
                found.append(_entry(id_, fields))
            last = id_
        if len(part) < PAGE:
            return found, ""
    return found, last


def _is(said: str, wanted: str) -> bool:
    return said != wanted[1:] if wanted.startswith("!") else said == wanted


async def exported(
    state: State, form: Format, version: str, before: str, limit: int, log: Log = "changes"
) -> tuple[str, str]:
    """Lines of the entries before an id (of the newest if it is empty), and the id before which the next part begins.

    It is empty after the last part. A part has at most about 300 KB, and at least one entry.

    Raises:
        Problem: 422, that is no id.
        StateUnavailable: Redis cannot be asked now.
    """
    _valid(before)
    found = await older(state, before, limit + 1, log)
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
