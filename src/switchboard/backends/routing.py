"""One line for a session, or for everybody, on whichever worker its calls arrive.

A child lives on one worker: the one that claimed it; so does a connection of HTTP+SSE, which is a session by itself.
Calls that arrive elsewhere go there. Streamable HTTP needs none of this: each worker has a line of its own, and all
resume the same upstream session (`upstream`). Lines for one call are each worker's own too.
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
from switchboard.backends.connections.connection_key import ABLE, ConnectionKey
from switchboard.backends.connections.connection_leases import ConnectionLease, ConnectionLeases
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.errors import Elsewhere, Forgotten, Unreachable
from switchboard.backends.handover import Moved, RemoteConnection, serving
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import Peers
from switchboard.state import State

FIND_S: Final = 20.0
"""How long a call looks for whoever has its line: longer than the lease of a worker that died."""

LOOK_S: Final = 0.5


class Reach(Protocol):
    """A line, here or on another worker."""

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


Use = Callable[[Reach], Awaitable[Any]]


class Routing:
    """How a call finds its line.

    Args:
        peers: the other workers; none have lines where there is no state to agree about them.
    """

    def __init__(self, backend: Backend, lines: ConnectionPool, state: State | None, peers: Peers | None) -> None:
        self._backend = backend
        self._lines = lines
        self._peers = peers
        self._claims: ConnectionLeases | None = None
        self._seat = f"{peers.worker if peers else ''}-{secrets.token_hex(3)}"
        """Of its own for each life of a backend: one that is being replaced still serves what it has."""
        if state is not None and peers is not None and isinstance(backend.transport, Stdio | Sse):
            self._claims = ConnectionLeases(state, self._seat, backend)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take other workers' calls, and keep claims, until the context ends."""
        async with AsyncExitStack() as stack:
            if self._claims is not None and self._peers is not None:
                await stack.enter_async_context(self._claims.running())
                served = serving(self._peers, self._seat, self._backend.name, self._hold)
                await stack.enter_async_context(served)
            yield

    async def use(self, key: ConnectionKey, capabilities: Params, work: Use) -> Any:
        """Do some work on the line of a key.

        Raises:
            BackendFailure: there is none to be had.
        """
        if self._claims is None or self._peers is None or key.once:
            return await self._alone(key, capabilities, work)
        return await self._used(self._claims, self._peers, key, capabilities, work)

    @asynccontextmanager
    async def here(self, key: ConnectionKey, capabilities: Params) -> AsyncIterator[Connection]:
        """The line of a key, if it may be on this worker.

        Raises:
            Elsewhere: another worker has it.
            BackendFailure: there is none to be had.
        """
        if self._claims is not None:
            try:
                claim = await self._claims.claim(key)
            except StateUnavailable as error:
                raise Unreachable("shared state cannot be reached now, which knows where its connection is") from error
            if isinstance(claim, str):
                raise Elsewhere("another worker has its connection")
            async with self._held(self._claims, key, capabilities) as line:
                yield line
            return
        async with self._lines.line(key, capabilities) as line:
            yield line

    async def elsewhere(self, key: ConnectionKey) -> bool:
        """Whether another worker has the line of a key; if that cannot be known, no."""
        if self._claims is None:
            return False
        try:
            return await self._claims.elsewhere(key)
        except StateUnavailable:
            return False

    async def _alone(self, key: ConnectionKey, capabilities: Params, work: Use) -> Any:
        try:
            async with self._lines.line(key, capabilities) as line:
                return await work(line)
        except Forgotten:
            async with self._lines.line(key, capabilities) as line:
                line.lost = line.lost or not line.resumable
                return await work(line)

    async def _used(
        self, claims: ConnectionLeases, peers: Peers, key: ConnectionKey, capabilities: Params, work: Use
    ) -> Any:
        until = asyncio.get_running_loop().time() + FIND_S
        while True:
            try:
                claim = await claims.claim(key)
            except StateUnavailable as error:
                raise Unreachable("shared state cannot be reached now, which knows where its connection is") from error
            if not isinstance(claim, str):
                async with self._held(claims, key, capabilities) as line:
                    return await work(line)
            try:
                return await work(RemoteConnection(peers, claim, self._backend.name, key))
            except Moved:
                if asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(LOOK_S)

    @asynccontextmanager
    async def _hold(self, key: ConnectionKey, capabilities: Mapping[str, Any]) -> AsyncIterator[Connection | None]:
        """For another worker's call: our line, if we have the claim."""
        if self._claims is None or self._claims.mine(key) is None:
            yield None
            return
        async with self._held(self._claims, key, ABLE if key.kind == "shared" else capabilities) as line:
            yield line

    @asynccontextmanager
    async def _held(
        self, claims: ConnectionLeases, key: ConnectionKey, capabilities: Params
    ) -> AsyncIterator[Connection]:
        claim = claims.mine(key)
        with _counted(claim):
            async with self._lines.line(key, capabilities) as line:
                if claim is not None and claim.line is not line:
                    line.lost = claim.lost or claim.line is not None
                    claim.line, claim.lost = line, False
                yield line


@contextmanager
def _counted(claim: ConnectionLease | None) -> Iterator[None]:
    """While entered, the claim is not given back: its line may be about to start."""
    if claim is None:
        yield
        return
    claim.users += 1
    try:
        yield
    finally:
        claim.users -= 1
