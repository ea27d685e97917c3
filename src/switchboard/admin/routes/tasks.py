"""`/api/tasks`: the tasks of everybody, from their records, and an end to one. What one gave is its owner's alone."""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration
from switchboard.admin.paging import Cursor, Limit, Page, decoded, encoded
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.tasks.record import Record, Status
from switchboard.tasks.store import Store

BATCH: Final = 100
"""Records that are read at once."""

MOST_READ: Final = 2_000
"""Records that are read for one page; a page of few of a kind may end before it is full."""


class ListedTask(BaseModel):
    """One task, without what it was given, asks and gave."""

    id: str
    tool: str = ""
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    issuer: str = ""
    subject: str = ""
    client_id: str = ""
    """Whose it is."""
    worker: str
    """Which worker runs it, or ran it."""
    created: str
    updated: str
    """As the protocol writes times: ISO 8601, UTC."""
    ttl_s: int
    """From its creation on it may run, and can be asked about, for so long."""
    message: str = ""
    questions: int = 0
    """Questions that its client has not answered."""


OneStatus = Annotated[Status | None, Query(description="Only tasks of this status.")]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/tasks", tags=["tasks"])
    store = administration.tasks

    @router.get("")
    async def list_tasks(limit: Limit = 100, cursor: Cursor = "", status: OneStatus = None) -> Page[ListedTask]:
        """Tasks of the whole fleet, about the newest first. `total` counts those of every status."""
        found, following = await _page(store, decoded(cursor), limit, status)
        items = [_task(record) for _, record in found]
        places = {record.id: place for place, record in found}
        page = Page[ListedTask](
            items=items, next_cursor=encoded(following) if following else None, total=await store.count()
        )
        return page.held(lambda each: places[each.id])

    @router.get("/{task}")
    async def get_task(task: str) -> ListedTask:
        """One task; one whose worker died is ended first."""
        return _task(await _found(task))

    @router.post("/{task}/cancel")
    async def cancel_task(task: str) -> ListedTask:
        """Cancel a task, on whichever worker it runs. It may have had effects already."""
        record = await _found(task)
        verdict = "ended" if record.ended else await store.end(task, "cancelled")
        outcome = "ok" if verdict == "ok" else verdict
        administration.audit.record("task.cancelled", who=who(), what=task[:8], outcome=outcome, tool=record.tool)
        if verdict != "ok":
            raise Problem(409, f"the task has ended: {(await _found(task)).status}")
        return _task(await _found(task))

    async def _found(task: str) -> Record:
        record = await store.look(task)
        if record is None:
            raise not_found("task", task)
        return record

    return router


async def _page(store: Store, place: str, limit: int, status: Status | None) -> tuple[list[tuple[str, Record]], str]:
    """Tasks of one page, each with its place, and the place after which the next begins; none after the last."""
    found: list[tuple[str, Record]] = []
    last = place
    for _ in range(MOST_READ // BATCH):
        part = await store.page(last, BATCH)
        for each, record in part:
            if record is None or status not in (None, record.status):
                continue
            if len(found) == limit:
                return found, last
            found.append((each, record))
            last = each
        if len(part) < BATCH:
            return found, ""
        last = part[-1][0]
    return found, last


def _task(record: Record) -> ListedTask:
    issuer, subject, client_id = json.loads(record.owner)
    return ListedTask(
        id=record.id,
        tool=record.tool,
        status=record.status,
        issuer=issuer,
        subject=subject,
        client_id=client_id,
        worker=record.worker,
        created=record.created,
        updated=record.updated,
        ttl_s=record.ttl_ms // 1000,
        message=record.message,
        questions=len(record.asks),
    )
