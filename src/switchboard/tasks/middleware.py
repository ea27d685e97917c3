"""What becomes a task, and the tasks that run on this worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.runner import aclose_shielded
from mcp_types import SERVER_INFO_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.aio import wait_for_event
from switchboard.errors import StateUnavailable
from switchboard.identity import current
from switchboard.plugins import TaskSupport
from switchboard.sessions.client_channel import LocalChannel, request_outbound
from switchboard.sessions.client_requests import Terms
from switchboard.sessions.detached_context import detached_context
from switchboard.state import State
from switchboard.tasks.errors import not_serving, too_many, undeclared
from switchboard.tasks.methods import declares, rows
from switchboard.tasks.notifications import Watch, watching
from switchboard.tasks.record import EXTENSION
from switchboard.tasks.running import METHOD, Running
from switchboard.tasks.store import Store

Context = ServerRequestContext[Any, Any]

AT_ONCE_S: Final = 0.5
"""A call that is done within this long is answered like any other."""


class Tasks:
    """Lets long calls outlive their requests: put it on the gateway's server as its innermost middleware.

    Args:
        state: where tasks are kept.
        worker: this worker's id.
        alive: whether the worker of an id still is.
        support: whether a tool, by the name that clients use, can or must run as a task.
        ttl: seconds from its creation that a task may run and can be asked about.
        max_running: tasks that may run on this worker, and how many of them may be one principal's.
    """

    def __init__(
        self,
        state: State,
        worker: str,
        alive: Callable[[str], Awaitable[bool]],
        support: Callable[[str], TaskSupport | None],
        *,
        ttl: float = 3600,
        max_running: int = 1000,
        max_per_principal: int = 50,
    ) -> None:
        self.state = state
        self.worker = worker
        self.ttl_ms = int(ttl * 1000)
        self.store = Store(state, alive)
        self._support = support
        self._server: Server[Any] | None = None
        self._max_running = max_running
        self._max_per_principal = max_per_principal
        self._group: asyncio.TaskGroup | None = None
        self._leave_at = 0.0
        self._running: dict[str, Running] = {}

    def install(self, server: Server[Any]) -> None:
        """Advertise the extension on the server, and serve its methods."""
        self._server = server
        server.extensions[EXTENSION] = {}
        for method, params_type, handler in rows(self.store):
            server.add_request_handler(method, params_type, handler)

    async def watch(self, wanted: list[str], capabilities: Mapping[str, Any]) -> Watch:
        """The tasks that a listen stream follows.

        Raises:
            MCPError: the client has not declared the extension.
        """
        return await watching(self.store, wanted, capabilities, current().principal.owner)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run tasks until the context ends; then they have what is left of their time, and fail with the reason."""
        async with asyncio.TaskGroup() as self._group:
            try:
                yield
            finally:
                self._group = None
                await self._finish()
                for call in list(self._running.values()):
                    call.leaving = True
                    if call.work is not None:
                        call.work.cancel()

    def __len__(self) -> int:
        """Those that run on this worker."""
        return len(self._running)

    @property
    def serving(self) -> bool:
        """Whether new tasks can start."""
        return self._group is not None

    def drain(self, patience: float) -> None:
        """This worker will stop: running tasks have `patience` seconds from the first call of this on."""
        self._leave_at = self._leave_at or asyncio.get_running_loop().time() + patience

    async def _finish(self) -> None:
        left = self._leave_at - asyncio.get_running_loop().time()
        running = {call.work for call in self._running.values() if call.work is not None}
        if running and left > 0:
            await asyncio.wait(running, timeout=left)

    def admit(self, owner: str) -> None:
        """Count one more task of an owner; raises when there are as many as there may be."""
        kept = Counter(call.owner for call in self._running.values() if call.record is not None)
        if kept.total() >= self._max_running:
            raise too_many("on this worker", self._max_running)
        if kept[owner] >= self._max_per_principal:
            raise too_many("for you on this worker", self._max_per_principal)

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Serve one request; a call that takes long is answered with a task."""
        support = self._supported(ctx)
        if support is None:
            return await call_next(ctx)
        if not declares(ctx):
            if support == "required":
                raise undeclared()
            return await call_next(ctx)
        return await self._start(ctx, call_next)

    def _supported(self, ctx: Context) -> TaskSupport | None:
        if ctx.method != METHOD or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return None
        name = (ctx.params or {}).get("name")
        return self._support(name) if isinstance(name, str) and ctx.request_id is not None else None

    async def _start(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        if self._group is None:
            raise not_serving()
        channel = LocalChannel(request_outbound(ctx.session))
        owner = current().principal.owner
        tool = str((ctx.params or {}).get("name", ""))
        call = Running(self, owner, tool, ctx.protocol_version, Terms.of(ctx), channel)
        inner, connection = detached_context(call, ctx)
        self._running[call.id] = call
        call.work = self._group.create_task(_run(call, inner, call_next, connection))
        looking = self._group.create_task(call.look())
        call.work.add_done_callback(lambda _: (self._running.pop(call.id, None), looking.cancel()))
        try:
            return await self._first_answer(call)
        except BaseException:
            if call.record is None:  # nobody will hear of it: the client left, or it cannot be kept
                call.work.cancel()
            raise

    async def _first_answer(self, call: Running) -> HandlerResult:
        if not await wait_for_event(call.decided, AT_ONCE_S):
            await self._kept(call)
        if call.record is not None:
            return {"resultType": "task", **call.record.seed(), **self._stamp()}
        if call.error is not None:
            raise call.error
        return dict(call.result or {})

    async def _kept(self, call: Running) -> None:
        try:
            await call.keep()
        except StateUnavailable:
            if not call.handled:
                raise
            await call.decided.wait()  # it ended while Redis was away: it is answered like any other

    def _stamp(self) -> dict[str, Any]:
        """What the SDK says on its own answers about the server; an answer made here must say it itself."""
        return {"_meta": {SERVER_INFO_META_KEY: self._server.server_info_stamp}} if self._server else {}


async def _run(call: Running, ctx: Context, call_next: CallNext, connection: Connection) -> None:
    try:
        await call.run(ctx, call_next)
    finally:
        await aclose_shielded(connection)
