"""Knowing what a backend offers and how it is doing, in the background, for the whole fleet.

The leader asks the backend, and asks again when something changed; the others take what it wrote, and
connect by themselves only to follow the resources that their own clients subscribed to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import anyio
import structlog

from switchboard.aio import background, first_error, first_of
from switchboard.backends import health
from switchboard.backends.config import Backend, Stdio
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.inbound import InboundListener
from switchboard.backends.errors import BackendFailure, Broken, Elsewhere, Refused
from switchboard.backends.gateway_connection import GatewayConnection
from switchboard.backends.health import Health
from switchboard.backends.offer.listing import discover
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.offer.offer_cache import OfferCache
from switchboard.backends.offer.refresh_schedule import RefreshSchedule
from switchboard.backends.offer.resource_subscriptions import WantedResources, follow
from switchboard.errors import StateUnavailable
from switchboard.fleet.leader import Leader, SoleLeader
from switchboard.state import State

log = structlog.get_logger("switchboard.backends")

RECONNECT_S: Final = 1.0
"""Before a connection that ended by itself is made anew: it may do that each time."""

FAILURE_REFRESH_S: Final = 5.0
"""Calls that fail make a worker ask for a refresh, no more often than this."""

RESUBSCRIBE_S: Final = 10.0
"""How often subscriptions through another worker are made again: its child may be a new one."""

FAILURES_PER_LEADER: Final = 3
"""After so many failures in a row another worker may try: perhaps only this one cannot reach the backend."""

INCOMPLETE_S: Final = 5.0
INCOMPLETE_DOUBLINGS: Final = 10
"""Before the lists that could not be had are asked for again, doubling so many times at most."""

REFRESHES_WARNED: Final = 5
"""Refreshes in quick succession that are worth a warning."""

REFRESH_REQUEST_S: Final = 0.5
"""Between requests to the leader to refresh."""

UNOFFERED_LOGGED: Final = 10
"""Definitions left out that are logged one by one."""


class OfferDiscovery:
    """What is known of one backend in this worker.

    Args:
        gateway_connection: the connection on which the backend is asked.
        listener: is told of changes that come on that connection.
        changed: told which of tools, resources and prompts changed, by the worker that found it.
        jitter: gives numbers between 0 and 1.
        last: what to offer until the backend was asked.
    """

    def __init__(
        self,
        backend: Backend,
        gateway_connection: GatewayConnection,
        listener: InboundListener,
        changed: Callable[[list[str]], Awaitable[None]],
        jitter: Callable[[], float],
        last: BackendOffer | None = None,
    ) -> None:
        self.offer = replace(last or BackendOffer(backend.name, backend.prefix), prefix=backend.prefix)
        self.health = Health()
        self.wanted = WantedResources()
        self._backend = backend
        self._gateway_connection = gateway_connection
        self._listener = listener
        self._changed = changed
        self._jitter = jitter
        self._refresh_wanted = asyncio.Event()
        self._refresh_reported = asyncio.Event()
        self._failure_reported_at = -FAILURE_REFRESH_S
        self._broken = False
        self._cache: OfferCache | None = None
        self._leader: Leader = SoleLeader()
        self._schedule = RefreshSchedule()
        self._incomplete = 0
        """Refreshes in a row that did not get every list."""

    @asynccontextmanager
    async def running(self, state: State | None, worker: str) -> AsyncIterator[None]:
        """Keep what is known true until the context ends; entered at once, or once the last known was read."""
        if self._backend.personal_offer:  # there is nothing to ask for nobody in particular
            self.health = self.health.ready()
            yield
            return
        async with AsyncExitStack() as stack:
            if state is not None:
                self._cache = OfferCache(
                    state,
                    self._backend,
                    worker,
                    self._adopt,
                    self._refresh_wanted.set,
                    self._jitter,
                    self._gateway_connection.is_available,
                )
                self._leader = self._cache.leader
                await stack.enter_async_context(self._cache.running())
            await stack.enter_async_context(background(self._keep_discovered(), self._keep_reporting()))
            yield

    async def current(self) -> BackendOffer:
        """What it offers, with all that was announced so far."""
        if self._cache is not None:
            await self._cache.current()
        return self.offer

    @property
    def leader(self) -> Leader:
        """Whether this worker looks after the backend for the fleet."""
        return self._leader

    def refresh(self) -> None:
        """Something changed: ask again, here or at the leader."""
        self._refresh_reported.set()

    def refresh_after_failure(self) -> None:
        """A call found that the backend does not serve: ask again, though not for every such call."""
        now = asyncio.get_running_loop().time()
        if now - self._failure_reported_at >= FAILURE_REFRESH_S:
            self._failure_reported_at = now
            self.refresh()

    # -- leader or follower ------------------------------------------------------------------------------------------

    async def _keep_discovered(self) -> None:
        try:
            while True:
                await first_of(self._leader.begun(), self._keep_following())
                await first_of(self._leader.ended(), self._keep_leading())
        finally:
            if self._leader.held:
                await asyncio.shield(self._leader.resign())

    async def _keep_reporting(self) -> None:
        while True:
            await self._refresh_reported.wait()
            self._refresh_reported.clear()
            if self._leader.held or self._cache is None:
                self._refresh_wanted.set()
                continue
            try:
                await self._cache.ask()
            except StateUnavailable as error:  # the leader asks anew by itself, sooner or later
                log.info(error.event, error=str(error))
            await asyncio.sleep(REFRESH_REQUEST_S)

    def _adopt(self, offer: BackendOffer, health: Health) -> None:
        """Another worker's finding, or the last one of all; whoever found it has told, or will tell, the clients."""
        before = self.offer
        if offer.modern != before.modern or offer.unoffered != before.unoffered or offer.changes(before):
            self.offer = offer
        if not self._leader.held:
            self.health = health

    # -- as a follower -----------------------------------------------------------------------------------------

    async def _keep_following(self) -> None:
        """Follow the resources that this worker's clients subscribed to."""
        while True:
            try:
                await self._follow_own_subscriptions()
            except BackendFailure as error:
                log.info("backend.subscribe_failed", backend=self._backend.name, reason=str(error))
                await asyncio.sleep(health.pause(FAILURES_PER_LEADER, self._jitter()))

    async def _follow_own_subscriptions(self) -> None:
        await self.wanted.some()
        if await self._gateway_connection.is_available():
            await self._follow()
        else:
            self.wanted.changed.clear()
            await self._gateway_connection.subscribe(() if self.offer.modern else self.wanted.uris)
            await first_of(self.wanted.changed.wait(), asyncio.sleep(RESUBSCRIBE_S))

    async def _follow(self) -> None:
        async with self._gateway_connection.connection() as connection:
            await first_of(self._follow_resources(connection), connection.ended(), self.wanted.none())

    async def _follow_resources(self, connection: Connection) -> None:
        await (
            anyio.sleep_forever()
            if self._gateway_connection.is_followed(connection)
            else follow(connection, self._listener, self.wanted)
        )

    # -- as the leader --------------------------------------------------------------------------------------------

    async def _keep_leading(self) -> None:
        while True:
            try:
                await self._lead()
            except Elsewhere:
                await self._leader.resign()  # whoever has the one connection asks, and hears of changes
                return
            except BackendFailure as error:
                # The pool refuses to try again: what it was still holds.
                self._broken = isinstance(error, Broken) or (isinstance(error, Refused) and self._broken)
                refused = isinstance(error, Refused) and self.health.condition == "failing"
                await self._note_failure(self.health.reason if refused else str(error))
            except Exception as error:  # the boundary of the background task: a backend must not end it
                log.exception("backend.discovery_failed", backend=self._backend.name)
                await self._note_failure(type(first_error(error)).__name__)
            if self.health.condition != "ready":
                await asyncio.sleep(health.pause(self.health.failures, self._jitter(), broken=self._broken))
                if self.health.failures % FAILURES_PER_LEADER == 0:
                    await self._leader.resign()
                    return

    async def _lead(self) -> None:
        """Ask what there is, and stay to hear of changes while that costs little or somebody wants it."""
        async with self._gateway_connection.connection() as connection:
            await self._discover(connection)
            if not isinstance(self._backend.transport, Stdio) or self.wanted.uris:
                await self._follow_until_refresh(connection)
                return
        # An idle child is not kept for notices that other children bring too: those of every connection arrive here.
        await first_of(self._refresh_wanted.wait(), self.wanted.some(), self._incomplete_due())
        if self._refresh_wanted.is_set():
            await self._pause_before_refresh()

    async def _follow_until_refresh(self, connection: Connection) -> None:
        refresh = asyncio.sleep(self._backend.patience.refresh)
        await first_of(
            self._follow_resources(connection),
            self._refresh_wanted.wait(),
            connection.ended(),
            self._incomplete_due(),
            refresh,
        )
        await (self._pause_before_refresh() if self._refresh_wanted.is_set() else asyncio.sleep(RECONNECT_S))

    async def _incomplete_due(self) -> None:
        """Wait until lists that could not be had are to be asked for again."""
        if not self._incomplete:
            await anyio.sleep_forever()
        await asyncio.sleep(min(INCOMPLETE_S * 2 ** (self._incomplete - 1), self._backend.patience.refresh))

    async def _pause_before_refresh(self) -> None:
        """Wait before a refresh that was asked for: longer each time, if that happens again and again."""
        self._schedule.requested(asyncio.get_running_loop().time())
        if self._schedule.in_a_row == REFRESHES_WARNED:
            why = "it says again and again that its lists changed: it is asked after longer and longer pauses"
            log.warning("backend.refresh_delayed", backend=self._backend.name, reason=why)
        await asyncio.sleep(self._schedule.pause)

    async def _discover(self, connection: Connection) -> None:
        self._refresh_wanted.clear()
        self._schedule.started(asyncio.get_running_loop().time())
        faults = await discover(self._backend, connection, self.offer, self._found)
        self._incomplete = min(self._incomplete + 1, INCOMPLETE_DOUBLINGS) if faults else 0

    async def _found(self, found: BackendOffer) -> None:
        if self.health.condition == "failing":
            log.info("backend.recovered", backend=self._backend.name)
        healthy = self.health.ready()
        changes = found.changes(self.offer)
        if found.unoffered != self.offer.unoffered:
            self._report(found)
        self.offer = found
        if self._cache is not None:
            await self._cache.write(found, healthy)
        if changes:
            self._schedule.changed()
            await self._changed(changes)
        self.health = healthy  # by now this worker's clients see what it offers

    def _report(self, found: BackendOffer) -> None:
        for one in found.unoffered[:UNOFFERED_LOGGED]:
            log.warning(
                "backend.definition_left_out",
                backend=self._backend.name,
                kind=one.kind,
                name=one.name,
                reason=one.reason,
            )
        log.info("backend.discovered", backend=self._backend.name, unoffered=len(found.unoffered))

    async def _note_failure(self, reason: str) -> None:
        if self.health.condition != "failing" or _kind(reason) != _kind(self.health.reason):
            log.warning("backend.failed", backend=self._backend.name, reason=reason)
        self.health = self.health.failed(reason)
        if self._cache is not None:
            await self._cache.write(self.offer, self.health)


def _kind(reason: str) -> str:
    """Equal for reasons that differ in a number: a process's, a time."""
    return re.sub(r"\d+", "#", reason)
