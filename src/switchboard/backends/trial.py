"""A backend that is tried: reached, asked what it offers, and left; no client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import anyio
from mcp.shared.subscriptions import ServerEvent

from switchboard.backends.health import Health
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.offer.resource_subscriptions import Stream
from switchboard.backends.provider import BackendProvider

ASKED_EVERY_S: Final = 0.05


class _NoClients:
    """A worker without clients. Satisfies `BackendHost`."""

    worker = "trial"

    def streams(self) -> Iterable[Stream]:
        """None."""
        return ()

    async def publish(self, event: ServerEvent) -> None:
        """Nobody is told."""


async def tried(provider: BackendProvider, seconds: float) -> tuple[Health, BackendOffer]:
    """How a backend is doing once it has answered or failed, and what it offers.

    Args:
        provider: runs nowhere else, and shares no state with other workers.
        seconds: how long it may take; it is `starting` after that.
    """
    async with provider.running(_NoClients()):
        with anyio.move_on_after(seconds):
            while True:
                if provider.health.condition != "starting":
                    break
                await asyncio.sleep(ASKED_EVERY_S)
        return provider.health, provider.last_offer()
