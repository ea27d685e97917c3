"""What ends with a client's session: the connections kept for it, and its sessions at HTTP backends.

Each worker looks after its own connections. The sessions at a backend are of no one worker, so the worker with the lead
ends them: when the client's session is gone, or when nobody used one for as long as makes a connection idle. A server
that is not told of the end keeps its state until it times out by itself.
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
from switchboard.backends.transports import http
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.http import FailoverTransport
from switchboard.backends.transports.opening import for_nobody
from switchboard.backends.transports.session_store import LOST_MARK, BackendSession
from switchboard.errors import StateUnavailable
from switchboard.fleet.leader import Leader
from switchboard.outbound_auth.credentials import carried
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS

ENDED_AT_ONCE: Final = 20
"""Sessions ended at the same time."""

SESSIONS_READ: Final = 500
"""Sessions looked at each time, about: thousands of them take several rounds."""

log = structlog.get_logger("switchboard.backends")


class SessionReaper:
    """Ends what has to end, every few seconds."""

    def __init__(
        self, state: State, backend: Backend, pool: ConnectionPool, endpoints: Endpoints | None, leader: Leader
    ) -> None:
        self._state = state
        self._backend = backend
        self._pool = pool
        self._endpoints = endpoints
        self._leader = leader
        self._registry = state.keys.upstreams(backend.place)
        self._cursor = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reap until the context ends."""
        async with background(self._keep_reaping()):
            yield

    async def _keep_reaping(self) -> None:
        while True:
            await asyncio.sleep(self._state.timing.renew_s)
            try:
                with self._state.guard():
                    await self.reap()
            except StateUnavailable as error:
                log.info(error.event, error=str(error))
            except Exception:  # the boundary of the background task: what could not be ended is looked at again
                log.exception("backend.session_end_failed", backend=self._backend.name)

    async def reap(self) -> None:
        """End what is to end now."""
        open_connections = self._pool.open
        gone = await self._gone(sid for connection in open_connections if (sid := _sid(connection)))
        for connection in open_connections:
            if connection.idle and _sid(connection) in gone:
                connection.stop()
        if not self._state.contact.settled:
            return  # workers have not told yet which sessions they used while Redis was away
        if self._leader.held and self._endpoints is not None and isinstance(self._backend.transport, Http):
            await self._reap_backend_sessions(self._endpoints, self._backend.transport)

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

    async def _reap_backend_sessions(self, endpoints: Endpoints, what: Http) -> None:
        scanned: Any = await self._state.redis.zscan(self._registry, self._cursor, count=SESSIONS_READ)
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
        for start in range(0, len(over), ENDED_AT_ONCE):
            await asyncio.gather(
                *(self._end(member, endpoints, what) for member in over[start : start + ENDED_AT_ONCE])
            )

    async def _end(self, member: str, endpoints: Endpoints, what: Http) -> None:
        tag, capabilities, _sid = json.loads(member)
        key = self._state.keys.line_upstream(tag, self._backend.place, capabilities)
        # The mark tells whoever comes back that something was lost.
        stored = await self._state.redis.set(key, LOST_MARK, px=LINE_LIFE_MS, get=True)
        await self._state.redis.zrem(self._registry, member)
        if not stored or stored == LOST_MARK:
            return
        session = BackendSession(**json.loads(str(stored)))
        credentials = carried(self._backend.credentials, session.person)
        failover = FailoverTransport(endpoints, httpx2.URL(session.url), credentials=credentials)
        failover.session = session.session
        headers = {**for_nobody(what), MCP_PROTOCOL_VERSION_HEADER: session.result["protocolVersion"]}
        async with http.client(failover, headers) as client:
            await http.ended(client, session.url, session.session)
        log.info("backend.session_ended", backend=self._backend.name)


def _sid(connection: Connection) -> str | None:
    return None if connection.key is None else connection.key.sid


def _member(text: str) -> list[Any] | None:
    """A member of the registry; `None` for what none of us wrote."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and len(found) == len(("tag", "capabilities", "sid")) else None
