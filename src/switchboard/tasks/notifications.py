"""Tasks on listen streams: `notifications/tasks`, each with the whole task as it is then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from switchboard.errors import StateUnavailable
from switchboard.tasks.errors import undeclared
from switchboard.tasks.record import EXTENSION, Record
from switchboard.tasks.store import Store

NOTICE: Final = "notifications/tasks"
MOST_TASKS: Final = 100
"""Tasks that one stream may follow."""


@dataclass
class Watch:
    """The tasks that one stream follows. Satisfies `switchboard.sessions.streams.listen.Watch`."""

    store: Store
    owner: str
    ids: tuple[str, ...]
    every: float
    """Seconds after which to look without being told: a dead worker publishes nothing."""

    _told: dict[str, Record] = field(default_factory=dict)
    """What the client knows of each task."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is followed."""
        return self.ids

    @property
    def honored(self) -> Mapping[str, Any]:
        """What the acknowledgement says."""
        return {"taskIds": list(self.ids)} if self.ids else {}

    @asynccontextmanager
    async def watching(self, changed: Callable[[str], None]) -> AsyncIterator[None]:
        """Have `changed` called with the id of a task that changed."""
        async with AsyncExitStack() as stack:
            for task in self.ids:
                await stack.enter_async_context(self.store.changes(task, partial(_ignoring_payload, changed, task)))
            yield

    async def notice(self, task: str) -> tuple[str, dict[str, Any]] | None:
        """The notification about a task; `None` when there is nothing new to say."""
        try:
            record = await self.store.find(task, self.owner)
        except StateUnavailable:
            return None  # the next look will find it
        if record is None or self._told.get(task) == record:
            return None
        self._told[task] = record
        return NOTICE, record.detailed()


async def watching(store: Store, wanted: list[str], capabilities: Mapping[str, Any], owner: str) -> Watch:
    """What can be told of the wanted tasks: those that there are, and are the owner's.

    Raises:
        MCPError: the client has not declared the extension.
    """
    if EXTENSION not in (capabilities.get("extensions") or {}):
        raise undeclared()
    asked = list(dict.fromkeys(wanted))[:MOST_TASKS]
    found = [task for task in asked if await store.find(task, owner) is not None]
    return Watch(store, owner, tuple(found), store.poll_s)


def _ignoring_payload(changed: Callable[[str], None], task: str, _payload: str) -> None:
    changed(task)
