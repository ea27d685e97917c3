"""Knowing what a backend offers and how it is doing, in the background, for the whole fleet.

The worker with the lead asks the backend, and asks again when something changed; the others take what it wrote, and
reach out by themselves only to hear of resources that their own clients subscribed to.
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
from switchboard.backends.offer.resource_subscriptions import Wanted, follow
from switchboard.errors import StateUnavailable
from switchboard.fleet.leader import Leader, SoleLeader
from switchboard.state import State

log = structlog.get_logger("switchboard.backends")

ENDED_S: Final = 1.0
"""Before a connection that ended by itself is made anew: it may do that each time."""

DOUBT_S: Final = 5.0
"""Calls that fail make a worker ask for a look at the backend, no more often than this."""

AGAIN_S: Final = 10.0
"""How often subscriptions through another worker are made again: its child may be a new one."""

TURN: Final = 3
"""After so many failures in a row another worker may try: perhaps only this one cannot reach the backend."""

INCOMPLETE_S: Final = 5.0
INCOMPLETE_MOST: Final = 10
"""Before the lists that could not be had are asked for again, doubling so many times at most."""

WARNED: Final = 5
"""Looks in quick succession that are worth a warning."""

ASKED_S: Final = 0.5
"""Between requests to the worker with the lead to look again."""

SHOWN: Final = 10
"""Definitions left out that are logged one by one."""


class OfferDiscovery:
    """What is known of one backend in this worker.

    Args:
        own: the line on which the backend is asked.
        ears: where notices on the line for discovery go.
        changed: told which of tools, resources and prompts changed, by the worker that found it.
        dice: gives numbers between 0 and 1.
        last: what to offer until the backend was asked.
    """

    def __init__(
        self,
        backend: Backend,
        own: GatewayConnection,
        listener: InboundListener,
        changed: Callable[[list[str]], Awaitable[None]],
        dice: Callable[[], float],
        last: BackendOffer | None = None,
    ) -> None:
        self.offer = replace(last or BackendOffer(backend.name, backend.prefix), prefix=backend.prefix)
        self.health = Health()
        self.wanted = Wanted()
        self._backend = backend
        self._own = own
        self._listener = listener
        self._changed = changed
        self._dice = dice
        self._again = asyncio.Event()
        self._heard = asyncio.Event()
        self._doubted = -DOUBT_S
        self._broken = False
        self._known: OfferCache | None = None
        self._lead: Leader = SoleLeader()
        self._looks = RefreshSchedule()
        self._incomplete = 0
        """Looks in a row that did not get every list."""

    @asynccontextmanager
    async def running(self, state: State | None, worker: str) -> AsyncIterator[None]:
        """Keep what is known true until the context ends; entered at once, or once the last known was read."""
        async with AsyncExitStack() as stack:
            if state is not None:
                self._known = OfferCache(
                    state, self._backend, worker, self._taken, self._again.set, self._dice, self._own.may
                )
                self._lead = self._known.lead
                await stack.enter_async_context(self._known.running())
            await stack.enter_async_context(background(self._keep_discovered(), self._keep_telling()))
            yield

    async def current(self) -> BackendOffer:
        """What it offers, with all that was announced so far."""
        if self._known is not None:
            await self._known.current()
        return self.offer

    @property
    def lead(self) -> Leader:
        """Whether this worker looks after the backend for the fleet."""
        return self._lead

    def hear(self) -> None:
        """Something changed: look again, here or wherever the lead is."""
        self._heard.set()

    def doubt(self) -> None:
        """A call found that the backend does not serve: look again, though not for every such call."""
        now = asyncio.get_running_loop().time()
        if now - self._doubted >= DOUBT_S:
            self._doubted = now
            self.hear()

    # -- who does it ----------------------------------------------------------------------------------------------

    async def _keep_discovered(self) -> None:
        try:
            while True:
                await first_of(self._lead.begun(), self._keep_accompanying())
                await first_of(self._lead.ended(), self._keep_attending())
        finally:
            if self._lead.held:
                await asyncio.shield(self._lead.resign())

    async def _keep_telling(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            if self._lead.held or self._known is None:
                self._again.set()
                continue
            try:
                await self._known.ask()
            except StateUnavailable as error:  # the leader asks anew by itself, sooner or later
                log.info(error.event, error=str(error))
            await asyncio.sleep(ASKED_S)

    def _taken(self, offer: BackendOffer, health: Health) -> None:
        """Another worker's finding, or the last one of all; whoever found it has told, or will tell, the clients."""
        known = self.offer
        if offer.modern != known.modern or offer.unoffered != known.unoffered or offer.changes(known):
            self.offer = offer
        if not self._lead.held:
            self.health = health

    # -- without the lead -----------------------------------------------------------------------------------------

    async def _keep_accompanying(self) -> None:
        """Hear of the resources that this worker's clients subscribed to."""
        while True:
            try:
                await self._accompany()
            except BackendFailure as error:
                log.info("backend.not_followed", backend=self._backend.name, reason=str(error))
                await asyncio.sleep(health.pause(TURN, self._dice()))

    async def _accompany(self) -> None:
        await self.wanted.some()
        if await self._own.may():
            await self._follow()
        else:
            self.wanted.changed.clear()
            await self._own.subscribe(() if self.offer.modern else self.wanted.uris)
            await first_of(self.wanted.changed.wait(), asyncio.sleep(AGAIN_S))

    async def _follow(self) -> None:
        async with self._own.line() as line:
            await first_of(self._followed(line), line.ended(), self.wanted.none())

    async def _followed(self, line: Connection) -> None:
        await (anyio.sleep_forever() if self._own.is_followed(line) else follow(line, self._listener, self.wanted))

    # -- with the lead --------------------------------------------------------------------------------------------

    async def _keep_attending(self) -> None:
        while True:
            try:
                await self._attend()
            except Elsewhere:
                await self._lead.resign()  # whoever has the one connection asks, and hears of changes
                return
            except BackendFailure as error:
                # The pool refuses to try again: what it was still holds.
                self._broken = isinstance(error, Broken) or (isinstance(error, Refused) and self._broken)
                refused = isinstance(error, Refused) and self.health.condition == "failing"
                await self._note_failure(self.health.reason if refused else str(error))
            except Exception as error:  # the boundary of the background task: a backend must not end its own watching
                log.exception("backend.discovery_broke", backend=self._backend.name)
                await self._note_failure(type(first_error(error)).__name__)
            if self.health.condition != "ready":
                await asyncio.sleep(health.pause(self.health.failures, self._dice(), broken=self._broken))
                if self.health.failures % TURN == 0:
                    await self._lead.resign()
                    return

    async def _attend(self) -> None:
        """Ask what there is, and stay to hear of changes while that costs little or somebody wants it."""
        async with self._own.line() as line:
            await self._discover(line)
            if not isinstance(self._backend.transport, Stdio) or self.wanted.uris:
                await self._stay(line)
                return
        # An idle child is not kept for news that its siblings bring too: every line's change notices arrive here.
        await first_of(self._again.wait(), self.wanted.some(), self._overdue())
        if self._again.is_set():
            await self._settled()

    async def _stay(self, line: Connection) -> None:
        refresh = asyncio.sleep(self._backend.patience.refresh)
        await first_of(self._followed(line), self._again.wait(), line.ended(), self._overdue(), refresh)
        await (self._settled() if self._again.is_set() else asyncio.sleep(ENDED_S))

    async def _overdue(self) -> None:
        """Wait until lists that could not be had are to be asked for again."""
        if not self._incomplete:
            await anyio.sleep_forever()
        await asyncio.sleep(min(INCOMPLETE_S * 2 ** (self._incomplete - 1), self._backend.patience.refresh))

    async def _settled(self) -> None:
        """Wait before a look that somebody asked for: longer each time, if that happens again and again."""
        self._looks.asked(asyncio.get_running_loop().time())
        if self._looks.hurried == WARNED:
            why = "it says again and again that its lists changed: it is asked after longer and longer pauses"
            log.warning("backend.changes_too_often", backend=self._backend.name, reason=why)
        await asyncio.sleep(self._looks.pause)

    async def _discover(self, line: Connection) -> None:
        self._again.clear()
        self._looks.began(asyncio.get_running_loop().time())
        faults = await discover(self._backend, line, self.offer, self._found)
        self._incomplete = min(self._incomplete + 1, INCOMPLETE_MOST) if faults else 0

    async def _found(self, found: BackendOffer) -> None:
        if self.health.condition == "failing":
            log.info("backend.ready", backend=self._backend.name)
        healthy = self.health.ready()
        changes = found.changes(self.offer)
        if found.unoffered != self.offer.unoffered:
            self._report(found)
        self.offer = found
        if self._known is not None:
            await self._known.write(found, healthy)
        if changes:
            self._looks.changed()
            await self._changed(changes)
        self.health = healthy  # by now this worker's clients see what it offers

    def _report(self, found: BackendOffer) -> None:
        for one in found.unoffered[:SHOWN]:
            log.warning(
                "backend.unoffered", backend=self._backend.name, kind=one.kind, name=one.name, reason=one.reason
            )
        log.info("backend.discovered", backend=self._backend.name, unoffered=len(found.unoffered))

    async def _note_failure(self, reason: str) -> None:
        if self.health.condition != "failing" or _kind(reason) != _kind(self.health.reason):
            log.warning("backend.failing", backend=self._backend.name, reason=reason)
        self.health = self.health.failed(reason)
        if self._known is not None:
            await self._known.write(self.offer, self.health)


def _kind(reason: str) -> str:
    """Equal for reasons that differ in a number: a process's, a time."""
    return re.sub(r"\d+", "#", reason)
