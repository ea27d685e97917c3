"""The live catalog: the providers, and the snapshot of what they offer. The next is built aside, then swapped in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from mcp.server.context import HandlerResult
from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent
from pydantic import BaseModel

from switchboard.aio import task_group
from switchboard.audit.call_log import CallLog, NoCallLog
from switchboard.catalog import Catalog, Entry, Naming, Offer, Rejection, Shape, build
from switchboard.catalog.personal import PersonalCatalogs
from switchboard.errors import ConfigurationError, StateUnavailable
from switchboard.gateway.links import Links, NoLinks
from switchboard.gateway.provider_lifecycle import GRACE_S, Life
from switchboard.gateway.source import Context, LiveTool, PersonalOffers, PersonalProvider, Provider
from switchboard.identity import current
from switchboard.plugins import Host, OpenStream
from switchboard.protocol.changes import LIST_CHANGES

logger = logging.getLogger(__name__)

LARGE: Final = 500
"""Tools from which on a snapshot is made beside the event loop: making it takes 10 ms for each thousand of them."""


class LiveCatalog:
    """A `CatalogSource` over running providers."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        bus: SubscriptionBus,
        separator: str = "__",
        shapes: Mapping[str, Shape] | None = None,
        links: Links | None = None,
        calls: CallLog | None = None,
    ) -> None:
        self.links: Links = links or NoLinks()
        self.calls: CallLog = calls or NoCallLog()
        self._providers = _by_name(providers)
        self._bus = bus
        self._naming = Naming(separator)
        self._shapes = shapes or {}
        self._offers: dict[str, Offer] = {}
        self._catalog = build(())
        self._stale = False
        self._building = asyncio.Lock()
        self._replacing = asyncio.Lock()
        self._lives: dict[str, Life] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._host: AnnouncingHost | None = None
        self._listeners: list[Callable[[], None]] = []
        self._personal: dict[str, PersonalOffers] = {}
        self._catalogs = PersonalCatalogs({}, self._with)
        self._follow_personal()
        self.absent: Callable[[str], MCPError | None] = lambda _exposed: None
        """Why there is no tool of that name, where that is known."""
        self.left_out: Callable[[str, str], bool] = lambda _name, _reason: False
        """Is told which provider did not start with this worker, and why; whether the others may go on without it."""

    @property
    def providers(self) -> Sequence[Provider]:
        """In order."""
        return tuple(self._providers.values())

    def provider(self, name: str) -> Provider:
        """The provider that an entry of the catalog names."""
        return self._providers[name]

    async def handle(self, name: str, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
        """Let a provider serve a request; it is not ended meanwhile, should it be replaced."""
        life = self._lives.get(name)
        if life is None:
            return await self._providers[name].handle(method, ctx, params)
        with life:
            return await life.provider.handle(method, ctx, params)

    def direct(self, entry: Entry) -> LiveTool | None:
        """The tool of that entry, if its provider can be asked for it directly."""
        life = self._lives.get(entry.provider)
        tool = life.provider.direct(entry.name) if life is not None else None
        return LiveTool(life, tool) if life is not None and tool is not None else None

    @property
    def stale(self) -> bool:
        """Whether a change was announced that the snapshot may not have."""
        return self._stale or (bool(self._personal) and self._person_is_stale())

    def current(self) -> Catalog:
        """The last snapshot, at once, with what the person is offered whose request is served."""
        return self._catalogs.of(self.person, self._catalog) if self._personal else self._catalog

    def connecting(self, exposed: str) -> Entry | None:
        """The tool by which the caller connects an account, if there may be a tool of that name after that."""
        if not self._personal:
            return None
        return self._catalogs.connecting(self.person, exposed, self._naming, self._catalog)

    @property
    def person(self) -> str:
        """Whose catalog the request being served sees; nobody's in particular, where all see the same."""
        return current().principal.person if self._personal else ""

    def _person_is_stale(self) -> bool:
        person = self.person
        return any(offers.is_stale(person) for offers in self._personal.values())

    def _follow_personal(self) -> None:
        self._personal = {
            provider.name: provider.personal
            for provider in self.providers
            if isinstance(provider, PersonalProvider) and provider.personal is not None
        }
        self._catalogs = PersonalCatalogs(self._personal, self._with)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each new snapshot, and when providers come and go."""
        self._listeners.append(listener)

    async def fresh(self) -> Catalog:
        """A snapshot that has every change announced so far."""
        if self._stale:
            await self.refresh()
        if self._personal:
            caller = current()
            await asyncio.gather(*(offers.learn(caller) for offers in self._personal.values()))
        return self.current()

    async def refresh(self) -> Catalog:
        """Ask every provider what it offers; swap the snapshot in if it differs from the current one."""
        async with self._building:
            self._stale = False
            try:
                await asyncio.gather(*map(self._ask, self.providers))  # each may wait for what it last announced
                built = await self._built()
            except BaseException:  # whoever waited for it has left, and nobody else has seen the change
                self._stale = True
                raise
            if (built.digest, built.shapes) != (self._catalog.digest, self._catalog.shapes):
                _report(set(built.rejected) - set(self._catalog.rejected))
                for each in set(built.renamed) - set(self._catalog.renamed):
                    logger.info("offered as %r: %s %r of %s", each.exposed, each.kind, each.name, each.provider)
                self._catalog = built
            for listener in self._listeners:
                listener()
            return self._catalog

    def _with(self, offers: Mapping[str, Offer]) -> Catalog:
        """The snapshot that these offers, in place of what their providers offer to all, would make."""
        offered = {**self._offers, **offers}
        in_order = tuple(offered[name] for name in self._providers if name in offered)
        return build(in_order, self._naming, self._shapes, self._catalog)

    async def _built(self) -> Catalog:
        """The next snapshot: made here, or of a large offer in a thread, so that requests are served meanwhile."""
        offers = tuple(self._offers[name] for name in self._providers if name in self._offers)
        made = partial(build, offers, self._naming, self._shapes, self._catalog)
        return made() if sum(len(offer.tools) for offer in offers) < LARGE else await asyncio.to_thread(_weighed, made)

    @asynccontextmanager
    async def running(self, host: Host) -> AsyncIterator[None]:
        """Start every provider in this worker, and keep the snapshot true while they run.

        Raises:
            ConfigurationError: naming the provider that did not start, and may not be left out.
        """
        unsubscribe = self._bus.subscribe(self._on_event)
        self._host = AnnouncingHost(host, self)
        try:
            async with task_group() as self._tasks:
                try:
                    self._lives = await self._start(self._tasks, self.providers, self.left_out)
                    self._providers = {name: life.provider for name, life in self._lives.items()}
                    await self.refresh()
                    yield
                finally:
                    await self._end(self._lives.values())
        finally:
            self._tasks = None
            unsubscribe()

    async def replace(
        self, providers: Sequence[Provider], *, separator: str | None = None, shapes: Mapping[str, Shape] | None = None
    ) -> None:
        """Go on with these providers: start those that are new, swap, and then end those that are gone.

        Those may finish what they serve, within `GRACE_S`; this does not wait for them. Nothing changes when a new one
        does not start.

        Raises:
            ConfigurationError: naming it.
        """
        async with self._replacing:
            if self._tasks is None:
                raise RuntimeError("the catalog is not running")
            wanted = _by_name(providers)
            new = [provider for name, provider in wanted.items() if self._providers.get(name) is not provider]
            gone = [life for name, life in self._lives.items() if wanted.get(name) is not life.provider]
            kept = {name: life for name, life in self._lives.items() if life not in gone}
            started = await self._start(self._tasks, new)
            self._providers, self._lives = wanted, kept | started
            for life in gone:
                life.replaced = True
            self._offers = {name: offer for name, offer in self._offers.items() if name in kept}
            self._naming = self._naming if separator is None else Naming(separator)
            self._shapes = self._shapes if shapes is None else shapes
            self._follow_personal()
            # Before anything that can be cancelled: nobody else knows of those that are gone.
            self._tasks.create_task(self._end(gone, GRACE_S))
            before = self._catalog
            await self._announce(before, await self.refresh())

    async def _announce(self, before: Catalog, after: Catalog) -> None:
        """Tell clients which lists changed."""
        for event, _, lists in LIST_CHANGES.values():
            if self._host and any(getattr(before, kind).digest != getattr(after, kind).digest for kind in lists):
                try:
                    await self._host.host.publish(event)
                except StateUnavailable:  # events only say "look again", and a worker refreshes when asked
                    logger.warning("a change could not be announced: %r", event)

    async def _start(
        self,
        tasks: asyncio.TaskGroup,
        providers: Iterable[Provider],
        left_out: Callable[[str, str], bool] = lambda _name, _reason: False,
    ) -> dict[str, Life]:
        if self._host is None:
            raise RuntimeError("the catalog is not running")
        started: dict[str, Life] = {}
        try:
            for provider in providers:
                life = Life(provider)
                try:
                    await life.start(tasks, self._host)
                except ConfigurationError as error:
                    if not left_out(provider.name, str(error)):
                        raise
                else:
                    started[provider.name] = life
        except BaseException:
            await self._end(started.values())
            raise
        return started

    @staticmethod
    async def _end(lives: Iterable[Life], grace: float = 0.0) -> None:
        await asyncio.gather(*(life.end(grace) for life in lives))

    def _on_event(self, event: ServerEvent) -> None:
        # Possibly another worker's event: what the same provider offers here may have changed with it.
        self._stale = self._stale or not isinstance(event, ResourceUpdated)

    async def _ask(self, provider: Provider) -> None:
        try:
            self._offers[provider.name] = await provider.offer()
        except Exception:  # a boundary: one broken provider keeps its last known offer and leaves the others alone
            logger.exception("%s does not say what it offers", provider.name)


@dataclass(frozen=True, slots=True)
class AnnouncingHost:
    """A host whose `publish` first brings this worker's snapshot up to date: whoever then looks again sees the news."""

    host: Host
    catalog: LiveCatalog

    @property
    def worker(self) -> str:
        """The host's."""
        return self.host.worker

    @property
    def state(self) -> str:
        """The host's."""
        return self.host.state

    def streams(self) -> Iterable[OpenStream]:
        """The host's."""
        return self.host.streams()

    async def publish(self, event: ServerEvent) -> None:
        """Refresh if a list changed, then publish."""
        if not isinstance(event, ResourceUpdated):
            await self.catalog.refresh()
        await self.host.publish(event)


def _weighed(made: Callable[[], Catalog]) -> Catalog:
    """A snapshot whose tools' tokens are known, which tool search asks for with the first request of each view."""
    catalog = made()
    for entry in catalog.tools.entries.values():
        _ = entry.tokens
    return catalog


def _by_name(providers: Sequence[Provider]) -> dict[str, Provider]:
    found = {provider.name: provider for provider in providers}
    if len(found) != len(providers):
        raise ConfigurationError("two providers have the same name")
    return found


def _report(rejected: Iterable[Rejection]) -> None:
    for item in sorted(rejected, key=lambda item: (item.kind, item.provider, item.name)):
        logger.warning("not offered: %s %r of %s: %s", item.kind, item.name, item.provider, item.reason)
