"""The line on which the gateway itself asks a backend what it offers, and follows resources.

A line of its own, which nobody's calls go over; but where there is one connection for everybody, that one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from mcp.shared.exceptions import MCPError

from switchboard.backends.caller import NoClient
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ABLE, GATEWAY, SHARED, ConnectionKey, one_for_all
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.errors import Unreachable
from switchboard.backends.routing import Reach, Routing

DISCOVERY: Final = ConnectionKey("shared", GATEWAY, "")
"""Its key, where nobody's calls go over it. Some servers offer tools only to clients that can be asked: it says so."""

log = structlog.get_logger("switchboard.backends")


class GatewayConnection:
    """Of one backend on this worker; `sharing` is there while the backend runs."""

    sharing: Routing | None = None

    def __init__(self, backend: Backend, lines: ConnectionPool) -> None:
        self._backend = backend
        self._lines = lines
        self._one_for_all = one_for_all(backend)

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Connection]:
        """The line, open.

        Raises:
            Elsewhere: the one connection for everybody is another worker's.
            BackendFailure: it does not open.
        """
        if not self._one_for_all:
            async with self._lines.line(DISCOVERY, ABLE) as line:
                yield line
            return
        async with self._running().here(SHARED, ABLE) as line:
            yield line

    async def may(self) -> bool:
        """Whether this worker could have the line."""
        return not self._one_for_all or not await self._running().elsewhere(SHARED)

    def is_followed(self, line: Connection) -> bool:
        """Whether whoever keeps the line hears of changes on it already."""
        return self._one_for_all and line.wire.modern

    async def subscribe(self, uris: Iterable[str]) -> None:
        """Have the one connection for everybody tell of these resources, whichever worker has it."""
        for uri in sorted(uris):

            async def work(reach: Reach, uri: str = uri) -> None:
                await reach.request("resources/subscribe", {"uri": uri}, NoClient())

            try:
                await self._running().use(SHARED, ABLE, work)
            except MCPError as error:
                log.info("backend.not_followed", backend=self._backend.name, uri=uri, reason=error.message)

    def _running(self) -> Routing:
        if self.sharing is None:
            raise Unreachable("this worker is not running")
        return self.sharing
