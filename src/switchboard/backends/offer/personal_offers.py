"""What a backend offers to each person, where it offers nothing to whoever has not signed in there.

Kept on each worker for the people it served lately, and asked for with the person's own credential when they look.
Whoever has no account there yet is offered one tool, `connect`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import structlog
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ServerEvent
from mcp_types import Tool, ToolAnnotations

from switchboard.aio import Start
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.errors import AccessRefused, BackendFailure
from switchboard.backends.offer.listing import discover
from switchboard.backends.offer.offer import BackendOffer
from switchboard.errors import CredentialUnavailable, NotConnected, StateUnavailable
from switchboard.identity import Caller
from switchboard.outbound_auth.connected import person_digest
from switchboard.protocol.changes import LIST_CHANGES

CONNECT: Final = "connect"
"""The tool's name; the backend's stands before it."""

MOST_PEOPLE: Final = 1_000
"""Whose offers a worker keeps."""

FIRST_LIST_S: Final = 5.0
"""How long a list waits for what a person is offered; later it is told as a change."""

FAILURE_S: Final = 10.0
"""After so long it is asked again what could not be had."""

log = structlog.get_logger("switchboard.backends")

ConnectionOf = Callable[[Caller], AbstractAsyncContextManager[Connection]]
"""A connection with the person's credential."""

Announce = Callable[[str, str], Awaitable[None]]
"""Takes a person and the backend's name."""

Tell = Callable[[str, ServerEvent], None]
"""Tells the streams that a person, given as a digest, has open on this worker."""


@dataclass(slots=True)
class _Known:
    """What one person is offered."""

    offer: BackendOffer
    connected: bool
    until: float


class PersonalOffers:
    """Of one backend on this worker.

    Args:
        connection_of: a connection on which the backend can be asked with a person's credential.
        tell: tells that person's clients, on this worker.
        announce: has every worker `forget` what the person was offered.
    """

    def __init__(self, backend: Backend, connection_of: ConnectionOf, tell: Tell, announce: Announce) -> None:
        self._backend = backend
        self._connection_of = connection_of
        self._tell = tell
        self._announce_everywhere = announce
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._changed: set[str] = set()
        """People about whom something was heard while they were asked for."""
        self.start: Start | None = None

    def offer_of(self, person: str) -> BackendOffer | None:
        """What the person is offered, as last known."""
        known = self._known.get(person)
        return known.offer if known is not None else None

    def is_unconnected(self, person: str) -> bool:
        """Whether the person was offered the tool that connects, and nothing else."""
        known = self._known.get(person)
        return known is None or not known.connected

    def is_stale(self, person: str) -> bool:
        """Whether it has to be asked what the person is offered."""
        known = self._known.get(person)
        return known is None or asyncio.get_running_loop().time() >= known.until

    async def learn(self, caller: Caller) -> None:
        """Ask what the caller is offered, if that is not known; waits for a few seconds at most."""
        person = caller.principal.person
        if self.start is None or not self.is_stale(person):
            return
        asking = self._asking.get(person)
        if asking is None:
            asking = self._asking[person] = self.start(self._ask(caller))
            asking.add_done_callback(lambda _: self._asking.pop(person, None))
        await asyncio.wait([asking], timeout=FIRST_LIST_S)

    def forget(self, digest: str) -> None:
        """What this person has there changed, or everybody's if it is empty: ask anew, and tell them to look."""
        for person, known in self._known.items():
            if not digest or person_digest(person) == digest:
                known.until = 0.0
        for person in self._asking:
            if not digest or person_digest(person) == digest:
                self._changed.add(person)
        self._announce(digest)

    def changed(self, person: str) -> None:
        """The backend said on a connection of the person's that something changed: their streams may be anywhere."""
        if self.start is not None:
            self.start(self._announce_change(person))

    async def _announce_change(self, person: str) -> None:
        try:
            await self._announce_everywhere(person, self._backend.name)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), lost="a change of what a person is offered")
            self.forget(person_digest(person))

    def _announce(self, digest: str) -> None:
        for change in LIST_CHANGES.values():
            self._tell(digest, change.event)

    async def _ask(self, caller: Caller) -> None:
        person = caller.principal.person
        before = self._known.get(person)
        self._changed.discard(person)
        found = await self._found(caller, before.offer if before is not None else self.nothing())
        if person in self._changed:
            found.until = 0.0
        self._known[person] = found
        self._known.move_to_end(person)
        if len(self._known) > MOST_PEOPLE:
            self._known.popitem(last=False)
        if before is not None and found.offer.changes(before.offer):
            self._announce(person_digest(person))

    async def _found(self, caller: Caller, before: BackendOffer) -> _Known:
        now = asyncio.get_running_loop().time()
        try:
            try:
                await self._backend.credentials.prepare(caller)
                return _Known(await self._discovered(caller, before), True, now + self._backend.patience.refresh)
            except AccessRefused:
                await self._backend.credentials.prepare(caller)  # which tells whether the person can do something
                raise
        except NotConnected:
            return _Known(self._unconnected(), False, now + self._backend.patience.refresh)
        except (CredentialUnavailable, BackendFailure, MCPError) as error:
            reason = error.message if isinstance(error, MCPError) else str(error)
            log.warning(
                "backend.personal_offer_failed",
                backend=self._backend.name,
                person=person_digest(caller.principal.person),
                reason=reason,
            )
            return _Known(before, True, now + FAILURE_S)

    async def _discovered(self, caller: Caller, before: BackendOffer) -> BackendOffer:
        found = before

        async def publish(offer: BackendOffer) -> None:
            nonlocal found
            found = offer

        async with self._connection_of(caller) as connection:
            await discover(self._backend, connection, before, publish)
        return found

    def nothing(self) -> BackendOffer:
        """What is offered to nobody in particular."""
        return BackendOffer(self._backend.name, self._backend.prefix)

    def _unconnected(self) -> BackendOffer:
        name = self._backend.name
        tool = Tool(
            name=CONNECT,
            title=f"Connect {name}",
            description=f"Asks the user to connect their account at {name}. Its tools are listed after that.",
            input_schema={"type": "object", "properties": {}, "additionalProperties": False},
            annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
        )
        return BackendOffer(name, "always", tools=(tool,))


@dataclass(frozen=True, slots=True)
class PersonListener:
    """Takes the notices of one person's connection. Satisfies `InboundListener`."""

    offers: PersonalOffers
    person: str
    heard: bool = True
    """Whether it is more than the connection on which the lists are read."""

    def changed(self, kind: str) -> None:
        """A list changed."""
        if self.heard:
            self.offers.changed(self.person)

    async def updated(self, uri: str) -> None:
        """A resource changed: nobody subscribed on this connection."""
