"""`/api/sessions`: the sessions of handshake clients, from their records, and an end to one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration
from switchboard.admin.paging import Cursor, Limit, Page, decoded, encoded
from switchboard.admin.problems import not_found
from switchboard.state import State

FIELDS: Final = ("owner", "protocol", "params", "level", "standalone", "created", "pending")


class Session(BaseModel):
    """One session."""

    id: str
    issuer: str = ""
    subject: str = ""
    client_id: str = ""
    client: str = ""
    """What the client calls itself, with its version."""
    protocol_version: str = ""
    log_level: str | None = None
    stream_open: bool = False
    """Whether its standalone stream is open, on any worker."""
    created: int | None = None
    """Unix seconds."""
    ends_in_s: int
    """Unless it is used."""


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/sessions", tags=["sessions"])
    state = administration.state

    @router.get("")
    async def list_sessions(limit: Limit = 100, cursor: Cursor = "") -> Page[Session]:
        """All sessions of the fleet, by their ids. `total` may count some that ended by themselves minutes ago."""
        index, after = administration.records.index, decoded(cursor) if cursor else ""
        sids, total = await index.page(after, limit + 1)
        found = await _read(state, sids[:limit])
        ended = sorted({*sids[:limit]} - {each.id for each in found})
        if ended:
            await index.remove(*ended)
        following = encoded(sids[limit - 1]) if len(sids) > limit else None
        page = Page[Session](items=found, next_cursor=following, total=total - len(ended))
        return page.held(lambda each: each.id)

    @router.delete("/{session}", status_code=204)
    async def end_session(session: str) -> None:
        """End a session: its streams close on every worker, and its next request is answered with 404."""
        with state.guard():
            owner: Any = await state.redis.hget(state.keys.session(session), "owner")
        if owner is None:
            raise not_found("session", session)
        await administration.records.delete(session, owner)
        administration.audit.record("session.ended", who=who(), what=session[:8], outcome="ok")

    return router


async def _read(state: State, sids: Any) -> list[Session]:
    if not sids:
        return []
    with state.guard():
        async with state.redis.pipeline(transaction=False) as pipe:
            for sid in sids:
                pipe.hmget(state.keys.session(sid), FIELDS)
                pipe.pttl(state.keys.session(sid))
            found: list[Any] = await pipe.execute()
    pairs = zip(sids, found[::2], found[1::2], strict=True)
    return [_session(sid, dict(zip(FIELDS, fields, strict=True)), life) for sid, fields, life in pairs if life > 0]


def _session(sid: str, record: Mapping[str, str | None], life: int) -> Session:
    issuer, subject, client_id = json.loads(record["owner"] or '["", "", ""]')
    info = json.loads(record["params"] or "{}").get("clientInfo", {})
    created = record["created"] or ""
    return Session(
        id=sid,
        issuer=issuer,
        subject=subject,
        client_id=client_id,
        client=f"{info.get('name', '')} {info.get('version', '')}".strip(),
        protocol_version=record["protocol"] or "",
        log_level=record["level"],
        stream_open=bool(record["standalone"]),
        created=int(created) if created.isdigit() else None,
        ends_in_s=life // 1000,
    )
