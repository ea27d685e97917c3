"""Which worker serves a call on a connection: this one, or the one that has its child.

A child lives on one worker, the one that holds its lease; so does a connection of HTTP+SSE, which is a session by
itself. Calls that arrive on another worker go there. Streamable HTTP needs none of this: each worker has a connection
of its own, and all resume the same session of the backend (`session_store`). A connection for one call alone is always
this worker's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.config import Backend, Sse, Stdio
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ALL_CAPABILITIES, ConnectionKey
from switchboard.backends.connections.connection_leases import ConnectionLease, ConnectionLeases
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.errors import Elsewhere, Forgotten, Unreachable
from switchboard.backends.handover import Moved, RemoteConnection, serving
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import Peers
from switchboard.state import State

FIND_S: Final = 20.0
"""How long a call looks for whoever has its connection: longer than the lease of a worker that died."""

FIND_POLL_S: Final = 0.5


class Route(Protocol):
    """A connection, here or on another worker."""

    lost: bool
    """Whether it took the place of one whose memory is gone, and nobody was told yet."""

    @property
    def version(self) -> str:
        """The protocol version it speaks; known once it answered."""
        ...

    async def request(
        self, method: str, params: Params | None, client_channel: ClientChannel, *, headers: HeaderMap | None = None
    ) -> dict[str, Any]:
        """Pass a request on."""
        ...


Work = Callable[[Route], Awaitable[Any]]


class Routing:
    """How a call finds its connection.

    Args:
        peers: the other workers; without them every connection is this worker's.
    """

    def __init__(self, backend: Backend, pool: ConnectionPool, state: State | None, peers: Peers | None) -> None:
        self._backend = backend
        self._pool = pool
        self._peers = peers
        self._leases: ConnectionLeases | None = None
        self._seat = f"{peers.worker if peers else ''}-{secrets.token_hex(3)}"
        """Of its own for each life of a backend: one that is being replaced still serves what it has."""
        if state is not None and peers is not None and isinstance(backend.transport, Stdio | Sse):
            self._leases = ConnectionLeases(state, self._seat, backend)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take other workers' calls, and keep claims, until the context ends."""
        async with AsyncExitStack() as stack:
            if self._leases is not None and self._peers is not None:
                await stack.enter_async_context(self._leases.running())
                served = serving(self._peers, self._seat, self._backend.name, self._hold)
                await stack.enter_async_context(served)
            yield

    async def use(self, key: ConnectionKey, capabilities: Params, work: Work) -> Any:
        """Do some work on the connection of a key.

        Raises:
            BackendFailure: there is none to be had.
        """
        if self._leases is None or self._peers is None or key.once:
            return await self._use_local(key, capabilities, work)
        return await self._use_leased(self._leases, self._peers, key, capabilities, work)

    @asynccontextmanager
    async def local(self, key: ConnectionKey, capabilities: Params) -> AsyncIterator[Connection]:
        """The connection of a key, if it may be on this worker.

        Raises:
            Elsewhere: another worker has it.
            BackendFailure: there is none to be had.
        """
        if self._leases is not None:
            if isinstance(await self._claimed(self._leases, key), str):
                raise Elsewhere("another worker has its connection")
            async with self._held(self._leases, key, capabilities) as connection:
                yield connection
            return
        async with self._pool.connection(key, capabilities) as connection:
            yield connection

    async def is_elsewhere(self, key: ConnectionKey) -> bool:
        """Whether another worker has the connection of a key; if that cannot be known, no."""
        if self._leases is None:
            return False
        try:
            return await self._leases.is_elsewhere(key)
        except StateUnavailable:
            return False

    async def _use_local(self, key: ConnectionKey, capabilities: Params, work: Work) -> Any:
        try:
            async with self._pool.connection(key, capabilities) as connection:
                return await work(connection)
        except Forgotten:
            async with self._pool.connection(key, capabilities) as connection:
                connection.lost = connection.lost or not connection.resumable
                return await work(connection)

    async def _use_leased(
        self, leases: ConnectionLeases, peers: Peers, key: ConnectionKey, capabilities: Params, work: Work
    ) -> Any:
        until = asyncio.get_running_loop().time() + FIND_S
        while True:
            lately = leases.seat_lately(key)
            lease = lately or await self._claimed(leases, key)
            if not isinstance(lease, str):
                async with self._held(leases, key, capabilities) as connection:
                    return await work(connection)
            remote = RemoteConnection(peers, lease, self._backend.name, key, listens=lately is not None)
            try:
                result = await work(remote)
            except Moved:
                leases.forget_seat(key)
                if lately is not None:
                    continue
                if asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(FIND_POLL_S)
            else:
                leases.note_answer(key, lease)
                return result

    @staticmethod
    async def _claimed(leases: ConnectionLeases, key: ConnectionKey) -> ConnectionLease | str:
        try:
            return await leases.claim(key)
        except StateUnavailable as error:
            raise Unreachable("shared state cannot be reached now, which knows where its connection is") from error

    @asynccontextmanager
    async def _hold(self, key: ConnectionKey, capabilities: Mapping[str, Any]) -> AsyncIterator[Connection | None]:
        """For another worker's call: our connection, if we have the claim."""
        if self._leases is None or self._leases.mine(key) is None:
            yield None
            return
        async with self._held(
            self._leases, key, ALL_CAPABILITIES if key.kind == "shared" else capabilities
        ) as connection:
            yield connection

    @asynccontextmanager
    async def _held(
        self, leases: ConnectionLeases, key: ConnectionKey, capabilities: Params
    ) -> AsyncIterator[Connection]:
        lease = leases.mine(key)
        with _counted(lease):
            async with self._pool.connection(key, capabilities) as connection:
                if lease is not None and lease.connection is not connection:
                    connection.lost = lease.lost or lease.connection is not None
                    lease.connection, lease.lost = connection, False
                yield connection


@contextmanager
def _counted(lease: ConnectionLease | None) -> Iterator[None]:
    """While entered, the claim is not given back: its connection may be about to start."""
    if lease is None:
        yield
        return
    lease.users += 1
    try:
        yield
    finally:
        lease.users -= 1
