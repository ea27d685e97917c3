"""A backend as the gateway calls it. Satisfies `switchboard.gateway.Provider`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import structlog
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import METHOD_NOT_FOUND, Implementation
from pydantic import BaseModel

from switchboard.backends import health, transports
from switchboard.backends.calling import Calling
from switchboard.backends.description import Backend, Http, Stdio, urls
from switchboard.backends.failures import BackendFailure, Unreachable
from switchboard.backends.following import LOOK_S, Interest, Stream, Wanted, follow
from switchboard.backends.health import Health
from switchboard.backends.http import Road
from switchboard.backends.known import Known
from switchboard.backends.line import Line
from switchboard.backends.lines import Lines
from switchboard.backends.north import Caller, Params
from switchboard.backends.offer import BackendOffer, discover
from switchboard.backends.scope import LineKey
from switchboard.backends.sharing import Sharing, Use
from switchboard.backends.upstream import Slot
from switchboard.backends.watchdog import Watchdog
from switchboard.state import State

log = structlog.get_logger("switchboard.backends")

DISCOVERY: Final = LineKey("shared", "discovery", "")
"""The line on which a backend is asked what it offers: nobody's calls go over it."""

SETTLE_S: Final = 0.05
"""Change notices often come in groups."""

EVENTS: Final[Mapping[str, type[Any]]] = {
    "tools": ToolsListChanged,
    "resources": ResourcesListChanged,
    "prompts": PromptsListChanged,
}


class Host(Protocol):
    """What a backend needs of Switchboard: the part of a plugin's host that it uses."""

    @property
    def worker(self) -> str:
        """This worker's id."""
        ...

    def streams(self) -> Iterable[Stream]:
        """The streams that clients hold open on this worker."""
        ...

    async def publish(self, event: ServerEvent) -> None:
        """Tell every interested client that something changed."""
        ...


class BackendProvider:
    """Another MCP server.

    Args:
        watchdog: ends children if this worker is killed; running.
        state: where workers agree on who has which line; without it this worker is alone.
        info: how the gateway introduces itself.
        interest: what the clients of this worker subscribed to, shared by all backends.
        dice: gives numbers between 0 and 1.
    """

    def __init__(
        self,
        backend: Backend,
        watchdog: Watchdog,
        *,
        state: State | None = None,
        info: Implementation | None = None,
        interest: Interest | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.backend = backend
        self.health = Health()
        self._watchdog = watchdog
        self._state = state
        self._info = info or Implementation(name="switchboard", version="")
        self._dice = dice
        self._offer = BackendOffer(backend.name, backend.prefix)
        self._lines = Lines(backend, self._line)
        self._road: Road | None = None
        self._host: Host | None = None
        self._again = asyncio.Event()
        self._known = None if state is None else Known(state, backend, self._taken)
        self._interest = interest or Interest()
        self._wanted = Wanted()
        self._sharing: Sharing | None = None
        self._calling = Calling(backend, self._use, self.known)

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.backend.name

    @property
    def instructions(self) -> str | None:
        """What it said about using it, once it was reached."""
        return self._offer.instructions

    @property
    def extensions(self) -> Mapping[str, dict[str, Any]]:
        """None: extensions are between a client and whoever it talks to."""
        return {}

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """None beyond the specification's."""
        return {}

    @property
    def lines(self) -> Lines:
        """Its open connections on this worker."""
        return self._lines

    def known(self) -> BackendOffer:
        """What it offers as last known, at once."""
        return self._offer

    async def offer(self) -> BackendOffer:
        """What it offers as last known; asking it is a background task's work."""
        if self._known is not None:
            await self._known.current()
        return self._offer

    async def handle(self, method: str, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Pass one request on.

        Raises:
            MCPError: the backend's own, or the reason why it did not serve; with its name either way.
        """
        if not self._calling.serves(method):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        body = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        return await self._calling.call(method, body, Caller(ctx))

    @asynccontextmanager
    async def running(self, host: Host) -> AsyncIterator[None]:
        """Its life in one worker: returns at once, discovers in the background, leaves no child behind."""
        async with AsyncExitStack() as stack:
            self._host = host
            if addresses := urls(self.backend.transport):
                self._road = await stack.enter_async_context(
                    Road(addresses, self.backend.bounds.message_bytes).running()
                )
            await stack.enter_async_context(self._lines.running())
            self._sharing = Sharing(self.backend, self._lines, self._state, host.worker)
            await stack.enter_async_context(self._sharing.running())
            if self._known is not None:
                await stack.enter_async_context(self._known.running())
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            working = [tasks.create_task(self._keep_discovered()), tasks.create_task(self._look_who_wants())]
            try:
                yield
            finally:
                for task in working:
                    task.cancel()

    # -- discovery ------------------------------------------------------------------------------------------------

    async def _keep_discovered(self) -> None:
        while True:
            try:
                await self._attend()
            except BackendFailure as error:
                self._note_failure(str(error))
            except Exception as error:  # the boundary of the background task: a backend must not end its own watching
                log.exception("backend.discovery_broke", backend=self.name)
                self._note_failure(type(error).__name__)
            if self.health.condition != "ready":
                await asyncio.sleep(health.pause(self.health.failures, self._dice()))

    async def _attend(self) -> None:
        """Ask what there is, and stay to hear of changes while that costs little or somebody wants it."""
        self._wanted.changed.clear()
        async with self._lines.line(DISCOVERY, {}) as line:
            await self._discover(line)
            if not isinstance(self.backend.transport, Stdio) or self._wanted.uris:
                await self._stay(line)
                return
        # An idle child is not kept for news that its siblings bring too: every line's change notices arrive here.
        await self._until(self._again.wait(), self._wanted.changed.wait())

    async def _stay(self, line: Line) -> None:
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow(line, self, self._wanted))
            try:
                async with asyncio.timeout(self.backend.patience.refresh):
                    await self._until(self._again.wait(), line.ended())
            except TimeoutError:
                pass
            finally:
                following.cancel()

    async def _until(self, *signs: Coroutine[Any, Any, Any]) -> None:
        """Wait for the first sign, and a moment for those that come with it."""
        waiting = [asyncio.ensure_future(sign) for sign in signs]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        await asyncio.sleep(SETTLE_S)

    async def _discover(self, line: Line) -> None:
        self._again.clear()
        found = await discover(self.backend, line)
        self.health = self.health.ready()
        changes = found.changes(self._offer)
        if found.unoffered != self._offer.unoffered:
            for one in found.unoffered[:10]:
                log.warning("backend.unoffered", backend=self.name, kind=one.kind, name=one.name, reason=one.reason)
            log.info("backend.discovered", backend=self.name, unoffered=len(found.unoffered))
        before, self._offer = self._offer, found
        if self._known is not None and (changes or found.modern != before.modern):
            await self._known.write(found)
        for kind in changes:
            await self._publish(EVENTS[kind]())

    def _taken(self, offer: BackendOffer) -> None:
        """Another worker's finding, or the last one of all; whoever found it has told, or will tell, the clients."""
        if offer.modern != self._offer.modern or offer.changes(self._offer):
            self._offer = offer

    def _note_failure(self, reason: str) -> None:
        if reason != self.health.reason:
            log.warning("backend.failing", backend=self.name, reason=reason)
        self.health = self.health.failed(reason)

    async def _look_who_wants(self) -> None:
        while self._host is not None:
            uris = self._interest.uris(self._host)
            self._wanted.become(frozenset(uri for uri in uris if self._offer.owns(uri)))
            await asyncio.sleep(LOOK_S)

    async def _publish(self, event: ServerEvent) -> None:
        if self._host is not None:
            await self._host.publish(event)

    # -- its lines ------------------------------------------------------------------------------------------------

    async def _use(self, key: LineKey, capabilities: Params, work: Use) -> Any:
        if self._sharing is None:
            raise Unreachable("this worker is not running")
        return await self._sharing.use(key, capabilities, work)

    def _line(self, key: LineKey, capabilities: Params) -> Line:
        return Line(
            self.backend,
            self._open(key),
            self,
            declared=capabilities,
            owned=key.kind != "shared",
            worker=self._host.worker if self._host is not None else "w",
            info=self._info,
        )

    def _open(self, key: LineKey) -> Callable[[AsyncExitStack], Any]:
        if isinstance(self.backend.transport, Stdio):
            return partial(transports.open_child, self.backend, self._watchdog)
        if self._road is None:
            raise RuntimeError("the provider is not running")
        slot = None
        if (
            self._state is not None
            and key.kind != "shared"
            and not key.once
            and isinstance(self.backend.transport, Http)
        ):
            slot = Slot(self._state, self.name, key, self.backend.patience.start)
        return partial(transports.open_http, self.backend, self._road, slot)

    # -- what lines hear. Satisfies `line.Ears`. ------------------------------------------------------------------

    def changed(self, kind: str) -> None:
        """A list changed: look again."""
        self._again.set()

    async def updated(self, uri: str) -> None:
        """A resource changed: tell whoever subscribed."""
        await self._publish(ResourceUpdated(uri))


def providers(
    backends: Iterable[Backend], watchdog: Watchdog, info: Implementation, state: State | None = None
) -> tuple[BackendProvider, ...]:
    """A provider for each backend."""
    interest = Interest()
    return tuple(BackendProvider(backend, watchdog, state=state, info=info, interest=interest) for backend in backends)
