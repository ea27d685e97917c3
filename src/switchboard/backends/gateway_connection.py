"""The connection on which the gateway itself asks a backend what it offers, and follows resources.

A connection of its own, which no client's calls go over; but where there is one connection for everybody, that one.
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
from switchboard.backends.connections.connection_key import (
    ALL_CAPABILITIES,
    GATEWAY,
    SHARED,
    ConnectionKey,
    single_connection,
)
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.errors import Unreachable
from switchboard.backends.routing import Route, Routing

DISCOVERY: Final = ConnectionKey("shared", GATEWAY, "")
"""Its key, where it is its own. Some servers offer tools only to clients that can be asked: it says that it can."""

log = structlog.get_logger("switchboard.backends")


class GatewayConnection:
    """Of one backend on this worker; `routing` is there while the backend runs."""

    routing: Routing | None = None

    def __init__(self, backend: Backend, pool: ConnectionPool) -> None:
        self._backend = backend
        self._pool = pool
        self._single_connection = single_connection(backend)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection, open.

        Raises:
            Elsewhere: the one connection for everybody is another worker's.
            BackendFailure: it does not open.
        """
        if not self._single_connection:
            async with self._pool.connection(DISCOVERY, ALL_CAPABILITIES) as connection:
                yield connection
            return
        async with self._running().local(SHARED, ALL_CAPABILITIES) as connection:
            yield connection

    async def is_available(self) -> bool:
        """Whether this worker could have the connection."""
        return not self._single_connection or not await self._running().is_elsewhere(SHARED)

    def is_followed(self, connection: Connection) -> bool:
        """Whether whoever keeps the connection hears of changes on it already."""
        return self._single_connection and connection.rpc.modern

    async def subscribe(self, uris: Iterable[str]) -> None:
        """Have the one connection for everybody tell of these resources, whichever worker has it."""
        for uri in sorted(uris):

            async def work(route: Route, uri: str = uri) -> None:
                await route.request("resources/subscribe", {"uri": uri}, NoClient())

            try:
                await self._running().use(SHARED, ALL_CAPABILITIES, work)
            except MCPError as error:
                log.info("backend.subscribe_failed", backend=self._backend.name, uri=uri, reason=error.message)

    def _running(self) -> Routing:
        if self.routing is None:
            raise Unreachable("this worker is not running")
        return self.routing
