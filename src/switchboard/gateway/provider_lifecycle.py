"""A provider's life in this worker, in a task of its own: so it can end, or break, without anybody else."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from switchboard.aio import wait_for_event
from switchboard.errors import ConfigurationError, PluginFailure
from switchboard.gateway.source import Provider
from switchboard.plugins import Host

logger = logging.getLogger(__name__)

GRACE_S: Final = 10.0
"""How long a provider that was replaced may finish what it serves."""


class Life:
    """One provider, from its start to its end."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.replaced = False
        """Whether another provider has its name now, or none."""
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._serving = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup, host: Host) -> None:
        """Start it; returns once it runs.

        Raises:
            ConfigurationError: naming the provider that did not start.
        """
        self._task = tasks.create_task(self._live(host))
        try:
            await self._started
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    async def end(self, grace: float = 0.0) -> None:
        """Let it finish what it serves, within `grace` seconds, and end it."""
        if not await wait_for_event(self._idle, grace) and grace:
            logger.warning("%s is ended with %d requests unfinished", self.provider.name, self._serving)
        self._leave.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def __enter__(self) -> None:
        """While entered, a request is being served."""
        self._serving += 1
        self._idle.clear()

    def __exit__(self, *_error: object) -> None:
        self._serving -= 1
        if not self._serving:
            self._idle.set()

    async def _live(self, host: Host) -> None:
        name = self.provider.name
        try:
            async with self.provider.running(host):
                self._started.set_result(None)
                await self._leave.wait()
        except Exception as error:  # a boundary: how one provider starts, breaks or ends is no other's concern
            if self._started.done():
                logger.exception("%s broke", name)
                return
            said = f"{name} did not start: {type(error).__name__}: {error}"
            self._started.set_exception(error if isinstance(error, PluginFailure) else ConfigurationError(said))
