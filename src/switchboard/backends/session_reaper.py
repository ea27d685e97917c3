"""What ends with a client's session: the connections kept for it, and its sessions at HTTP backends.

Each worker looks after its own connections. The sessions at a backend are of no one worker, so the worker with the lead
ends them: when the client's session is gone, or when nobody used one for as long as makes a connection idle. A server
that never hears of the end keeps what it remembers until its own patience is over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import structlog
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER

from switchboard.aio import background
from switchboard.backends.config import Backend, Http
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.placeholders import for_nobody
from switchboard.backends.transports import http
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.http import FailoverTransport
from switchboard.backends.transports.session_store import LOST, SessionStore
from switchboard.errors import StateUnavailable
from switchboard.fleet.leader import Leader
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS

AT_ONCE: Final = 20
"""Sessions ended at the same time."""

LOOKED_AT: Final = 500
"""Sessions looked at each time, about: thousands of them take several rounds."""

log = structlog.get_logger("switchboard.backends")


class SessionReaper:
    """Looks for what has to end, every few seconds."""

    def __init__(
        self, state: State, backend: Backend, lines: ConnectionPool, endpoints: Endpoints | None, lead: Leader
    ) -> None:
        self._state = state
        self._backend = backend
        self._lines = lines
        self._endpoints = endpoints
        self._lead = lead
        self._registry = state.keys.upstreams(backend.place)
        self._cursor = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look until the context ends."""
        async with background(self._keep_looking()):
            yield

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._state.timing.renew_s)
            try:
                with self._state.guard():
                    await self.look()
            except StateUnavailable as error:
                log.info(error.event, error=str(error))
            except Exception:  # the boundary of the background task: what could not be ended is looked at again
                log.exception("backend.ending_broke", backend=self._backend.name)

    async def look(self) -> None:
        """End what is to end now."""
        open_lines = self._lines.open
        gone = await self._gone(sid for line in open_lines if (sid := _sid(line)))
        for line in open_lines:
            if line.idle and _sid(line) in gone:
                line.stop()
        if not self._state.contact.settled:
            return  # workers have not told yet which sessions they used while Redis was away
        if self._lead.held and self._endpoints is not None and isinstance(self._backend.transport, Http):
            await self._look_at_upstreams(self._endpoints, self._backend.transport)

    async def _gone(self, sids: Iterable[str]) -> frozenset[str]:
        """Those of the clients' sessions that are not there any more."""
        asked = sorted(set(sids))
        if not asked:
            return frozenset()
        async with self._state.redis.pipeline(transaction=False) as pipe:
            for sid in asked:
                pipe.exists(self._state.keys.session(sid))
            found = await pipe.execute()
        return frozenset(sid for sid, there in zip(asked, found, strict=True) if not there)

    async def _look_at_upstreams(self, endpoints: Endpoints, what: Http) -> None:
        scanned: Any = await self._state.redis.zscan(self._registry, self._cursor, count=LOOKED_AT)
        self._cursor, stored = scanned
        members = {member: _member(member) for member, _ in stored}
        for foreign in (member for member, read in members.items() if read is None):
            await self._state.redis.zrem(self._registry, foreign)
        stored = [(member, used) for member, used in stored if members[member] is not None]
        gone = await self._gone(sid for member, _ in stored if (sid := json.loads(member)[2]))
        idle = self._state.clock() - max(
            self._backend.patience.idle, 3 * self._state.timing.renew_s
        )  # workers tell of use only now and then
        over = [member for member, used in stored if used < idle or json.loads(member)[2] in gone]
        for start in range(0, len(over), AT_ONCE):
            await asyncio.gather(*(self._end(member, endpoints, what) for member in over[start : start + AT_ONCE]))

    async def _end(self, member: str, endpoints: Endpoints, what: Http) -> None:
        tag, capabilities, _sid = json.loads(member)
        key = self._state.keys.line_upstream(tag, self._backend.place, capabilities)
        # The mark tells whoever comes back that something was lost.
        stored = await self._state.redis.set(key, LOST, px=LINE_LIFE_MS, get=True)
        await self._state.redis.zrem(self._registry, member)
        if not stored or stored == LOST:
            return
        upstream = SessionStore(**json.loads(str(stored)))
        carrier = FailoverTransport(endpoints, httpx2.URL(upstream.url))
        carrier.session = upstream.session
        headers = {**for_nobody(what), MCP_PROTOCOL_VERSION_HEADER: upstream.result["protocolVersion"]}
        async with http.client(carrier, headers) as client:
            await http.ended(client, upstream.url, upstream.session)
        log.info("backend.session_ended", backend=self._backend.name)


def _sid(line: Connection) -> str | None:
    return None if line.key is None else line.key.sid


def _member(text: str) -> list[Any] | None:
    """A member of the registry; `None` for what none of us wrote."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and len(found) == len(("tag", "capabilities", "sid")) else None
