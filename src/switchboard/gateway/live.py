"""The live catalog: the providers, and the snapshot of what they offer. The next is built aside, then swapped in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent

from switchboard.catalog import Catalog, Naming, Offer, Rejection, build
from switchboard.errors import ConfigurationError
from switchboard.gateway.source import Provider
from switchboard.plugins import Host, OpenStream

logger = logging.getLogger(__name__)


class LiveCatalog:
    """A `CatalogSource` over running providers."""

    def __init__(self, providers: Sequence[Provider], *, bus: SubscriptionBus, separator: str = "__") -> None:
        self._providers = {provider.name: provider for provider in providers}
        if len(self._providers) != len(providers):
            raise ConfigurationError("two providers have the same name")
        self._bus = bus
        self._naming = Naming(separator)
        self._offers: dict[str, Offer] = {}
        self._catalog = build(())
        self._stale = False
        self._building = asyncio.Lock()

    @property
    def providers(self) -> Sequence[Provider]:
        """In order."""
        return tuple(self._providers.values())

    def provider(self, name: str) -> Provider:
        """The provider that an entry of the catalog names."""
        return self._providers[name]

    def current(self) -> Catalog:
        """The last snapshot, at once."""
        return self._catalog

    async def fresh(self) -> Catalog:
        """A snapshot that has every change announced so far."""
        if self._stale:
            await self.refresh()
        return self._catalog

    async def refresh(self) -> Catalog:
        """Ask every provider what it offers; swap the snapshot in if it differs from the current one."""
        async with self._building:
            self._stale = False
            for provider in self.providers:
                await self._ask(provider)
            built = build(tuple(self._offers[name] for name in self._providers if name in self._offers), self._naming)
            if built.digest != self._catalog.digest:
                _report(set(built.rejected) - set(self._catalog.rejected))
                self._catalog = built
            return self._catalog

    @asynccontextmanager
    async def running(self, host: Host) -> AsyncIterator[None]:
        """Start every provider in this worker, and keep the snapshot true while they run.

        Raises:
            ConfigurationError: naming the provider that did not start.
        """
        unsubscribe = self._bus.subscribe(self._on_event)
        failure: Exception | None = None
        try:
            async with AsyncExitStack() as stack:
                try:
                    await self._start(stack, AnnouncingHost(host, self))
                    yield
                except Exception as error:  # taken past the providers, whose task groups would wrap what is not theirs
                    failure = error
            if failure is not None:
                raise failure
        finally:
            unsubscribe()

    async def _start(self, stack: AsyncExitStack, host: Host) -> None:
        for provider in self.providers:
            await _started(stack, provider, host)
        await self.refresh()

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


async def _started(stack: AsyncExitStack, provider: Provider, host: Host) -> None:
    try:
        await stack.enter_async_context(provider.running(host))
    except Exception as error:  # a boundary: whatever a provider's start raises, start-up ends with the provider's name
        raise ConfigurationError(f"{provider.name} did not start: {type(error).__name__}: {error}") from error


def _report(rejected: Iterable[Rejection]) -> None:
    for item in sorted(rejected, key=lambda item: (item.kind, item.provider, item.name)):
        logger.warning("not offered: %s %r of %s: %s", item.kind, item.name, item.provider, item.reason)
