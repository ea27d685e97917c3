"""`/api/streams`: what clients hold open, asked of the workers that hold it, and an end to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from switchboard.admin.access import who
from switchboard.admin.administration import Administration, Told
from switchboard.admin.paging import Cursor, Limit, Page, decoded, encoded
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.sessions.streams.stream_list import Era, Kind, worker_of


class Stream(BaseModel):
    """One stream."""

    id: str
    worker: str
    """Which holds it."""
    kind: Kind
    """`get`: a session's notifications; `sse`, `websocket`: the one stream of those transports; `listen`:
    `subscriptions/listen`; `reply`: the answer to a POST, of either era."""
    era: Era
    session: str = ""
    """Its session's id; none in the modern era."""
    issuer: str = ""
    subject: str = ""
    client_id: str = ""
    opened: float
    """Unix seconds."""


class Streams(Page[Stream]):
    """One page. `total` and `items` are of the workers that answered."""

    silent: list[str] = Field(default_factory=list)
    """Workers that have a heartbeat, and did not answer: busy, stopped, or lost within the last seconds."""


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/streams", tags=["sessions"])

    @router.get("")
    async def list_streams(
        limit: Limit = 100,
        cursor: Cursor = "",
        worker: Annotated[str, Query(max_length=64, description="Only those that this worker holds.")] = "",
        session: Annotated[str, Query(max_length=64, description="Only those of this session.")] = "",
        subject: Annotated[str, Query(max_length=255, description="Only those of the person of this subject.")] = "",
    ) -> Streams:
        """What clients hold open, worker by worker, each in the order in which it was opened."""
        after = decoded(cursor) if cursor else ""
        question = {"after": after, "limit": limit + 1, "session": session, "subject": subject}
        if worker and not await _is_there(administration, worker):
            raise not_found("worker", worker)
        return _page(await administration.ask_for_streams(question, [worker] if worker else None), limit)

    @router.delete("/{stream}", status_code=204)
    async def end_stream(stream: str) -> None:
        """End a stream, at the worker that holds it. A client may open another, or resume it, unless its session is
        ended; a request of the modern era, and a session of HTTP+SSE or WebSocket, ends with its stream."""
        worker = worker_of(stream)
        if not worker or not await _is_there(administration, worker):
            raise not_found("stream", stream[:80])
        told = (await administration.ask_for_streams({"end": stream}, [worker]))[worker]
        ended = told.get("ended") if told is not None else None
        if told is not None and ended is None:
            raise not_found("stream", stream[:80])
        outcome = "ok" if told is not None else "no answer"
        administration.audit.record("stream.ended", who=who(), what=stream, outcome=outcome, **_noted(ended))
        if told is None:
            message = f"worker {worker}, which holds the stream, did not answer; if it was lost, the stream was too"
            raise Problem(503, message, headers={"Retry-After": "1"})

    return router


async def _is_there(administration: Administration, worker: str) -> bool:
    state = administration.state
    with state.guard():
        return bool(await state.redis.exists(state.keys.worker(worker)))


def _page(told: Mapping[str, Told | None], limit: int) -> Streams:
    """Those of all workers in one order; each told of one more than the page has, if it has more."""
    answers = {worker: told[worker] for worker in sorted(told)}
    found = [
        Stream(worker=worker, **each)
        for worker, answer in answers.items()
        if answer is not None
        for each in answer["items"]
    ]
    return Streams(
        items=found[:limit],
        next_cursor=encoded(found[limit - 1].id) if len(found) > limit else None,
        total=sum(answer["total"] for answer in answers.values() if answer is not None),
        silent=[worker for worker, answer in answers.items() if answer is None],
    ).held(lambda each: each.id)


def _noted(ended: Any) -> dict[str, str]:
    """What of a stream that was ended the audit log says."""
    if not isinstance(ended, Mapping):
        return {}
    return {"kind": str(ended["kind"]), "session": str(ended["session"])[:8], "subject": str(ended["subject"])}
