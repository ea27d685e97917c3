"""The middleware that parks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types.methods import INPUT_REQUIRED_METHODS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.fleet.peers import Peers
from switchboard.identity import current
from switchboard.protocol.direct_requests import changed, close
from switchboard.sessions.client_channel import LocalChannel, request_outbound
from switchboard.sessions.client_requests import Terms
from switchboard.sessions.detached_context import detached_context
from switchboard.sessions.parking.call import Call
from switchboard.sessions.parking.continuation import Continuation, HandlerState, read
from switchboard.sessions.parking.errors import invalid_responses, not_serving
from switchboard.sessions.parking.forward import Forwarding
from switchboard.sessions.parking.outcome import Outcome
from switchboard.sessions.parking.registry import CallRegistry

Context = ServerRequestContext[Any, Any]


class Parking:
    """Lets handlers ask modern clients: put it on the gateway's server, after the SDK's `RequestStateBoundary`.

    Args:
        peers: this worker and the others, over which retries reach the one that holds their call.
        ttl: seconds that a call waits for its client; not more than the life of a sealed `requestState`.
        max_parked: calls that may wait on this worker.
        max_per_principal: calls of one principal that may wait on this worker.
        server_info: what to stamp on answers: `lambda: server.server_info_stamp`, as the server itself comes later.
    """

    def __init__(
        self,
        peers: Peers,
        *,
        ttl: float = 600,
        max_parked: int = 1000,
        max_per_principal: int = 50,
        server_info: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._worker = peers.worker
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: set[asyncio.Task[None]] = set()
        self._registry = CallRegistry(
            peers.worker,
            ttl=ttl,
            max_parked=max(max_parked, max_per_principal),
            max_per_principal=max_per_principal,
            server_info=server_info,
        )
        self._forwarding = Forwarding(peers, self._registry)

    @property
    def parked(self) -> int:
        """How many calls wait for their clients on this worker."""
        return len(self._registry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold calls, and answer other workers; calls in progress are cancelled on the way out."""
        async with self._forwarding.serving(), asyncio.TaskGroup() as self._tasks:
            try:
                yield
            finally:
                self._registry.close()
                self._tasks = None
                for task in [task for task in self._spawned if not task.cancelling()]:
                    task.cancel()

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Serve one request, or one round of one."""
        if not _parkable(ctx):
            return await call_next(ctx)
        params = ctx.params or {}
        state = params.get("requestState")
        carried = read(state) if isinstance(state, str) else None
        if isinstance(carried, Continuation):
            return (await self._go_on(ctx, carried, params.get("inputResponses"))).give()
        if isinstance(carried, HandlerState):
            ctx = changed(ctx, params={**params, "requestState": carried.state})
        return (await self._start(ctx, call_next)).give()

    async def _start(self, ctx: Context, call_next: CallNext) -> Outcome:
        call = Call(self._registry, current().principal.owner, ctx.method, ctx.protocol_version, Terms.of(ctx))
        inner, connection = detached_context(call, ctx)
        call.task = self._spawn(_run(call, inner, call_next, connection))
        call.task.add_done_callback(lambda _: call.end())
        self._registry.running.add(call)
        return await call.attend(0, LocalChannel(request_outbound(ctx.session)))

    async def _go_on(self, ctx: Context, continuation: Continuation, answers: Any) -> Outcome:
        if not isinstance(answers, Mapping | None):
            raise invalid_responses()
        principal, terms = current().principal.owner, Terms.of(ctx)
        channel = LocalChannel(request_outbound(ctx.session))
        if continuation.worker == self._worker:
            return await self._registry.attend(continuation, principal, answers or {}, terms, channel)
        return await self._forwarding.retry(continuation, ctx.method, principal, answers or {}, terms, channel)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._tasks is None:
            work.close()
            raise not_serving()
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task


def _parkable(ctx: Context) -> bool:
    return (
        ctx.method in INPUT_REQUIRED_METHODS
        and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        and ctx.request_id is not None
    )


async def _run(call: Call, ctx: Context, call_next: CallNext, connection: Connection) -> None:
    try:
        outcome = Outcome(await call_next(ctx))
    except Exception as error:  # the boundary of the handler's task: whatever it was is the answer of its round
        outcome = Outcome(error=error)
    finally:
        await close(connection)
    call.end(outcome)
