"""The uppermost layer: changes made through the API, in Redis, for every worker of the fleet.

It lies over each worker's own file. So it also holds when files differ: what the overlay says wins on every worker,
about everything else each worker keeps its own file's word.

Merge patches (RFC 7396) do not add up to one: "take x away" and then "x is {…}" is no patch that leaves nothing of the
old x. They do add up to two, one that only takes away and one that only states, applied in this order.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio.client import Pipeline

from switchboard.errors import ConfigurationError
from switchboard.state import State

Document = Mapping[str, Any]

LARGEST: Final = 1024 * 1024
"""Characters."""

UNREADABLE: Final = (
    "the overlay in Redis (the key mcp:config) is not one that Switchboard wrote: restore it, or delete it"
)


@dataclass(frozen=True)
class Layered:
    """The overlay as it was read."""

    removed: Document = field(default_factory=dict)
    """A patch of nothing but nulls."""

    stated: Document = field(default_factory=dict)
    """A patch without a null."""

    revision: int = 0
    """Counts changes; 0 before the first."""

    @property
    def patches(self) -> tuple[Document, Document]:
        """In the order in which they apply."""
        return self.removed, self.stated


Check = Callable[[Layered], object]
"""Raises `ConfigurationError` for an overlay that must not come into force."""


def _unchecked(_next: Layered) -> None:
    """Where anything may come into force: each worker checks for itself once more."""


class Overlay:
    """The fleet's overlay."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def read(self) -> Layered:
        """What it says now.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        with self._state.guard():
            found = await self._state.redis.hgetall(self._state.keys.overlay())
        return _layered(found)

    async def change(self, patch: Document, check: Check = _unchecked) -> Layered:
        """Lay a merge patch onto the overlay. A `null` takes away also what lower layers say; `forget` does not.

        Raises:
            ConfigurationError: what `check` says, or the overlay would grow too large.
            StateUnavailable: Redis cannot be reached.
        """
        return await self._replace(lambda before: composed(before, patch), check)

    async def forget(self, place: tuple[str, ...], check: Check = _unchecked) -> Layered:
        """Take away what the overlay itself says at `place`, so that the lower layers' word counts again.

        Raises:
            ConfigurationError, StateUnavailable: as `change`.
        """
        return await self._replace(lambda before: forgotten(before, place), check)

    @asynccontextmanager
    async def watched(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        """Have `changed` called after every change, and whenever one may have been missed."""
        async with self._state.pubsub.subscribed(self._state.keys.overlay_changed(), lambda _payload: changed()):
            yield

    async def _replace(self, make: Callable[[Layered], Layered], check: Check) -> Layered:
        key = self._state.keys.overlay()

        async def step(pipe: Pipeline) -> Layered:
            after = make(_layered(await pipe.hgetall(key)))
            check(after)
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.hset(key, mapping=_written(after))
            return after

        with self._state.guard():
            after: Layered = await self._state.redis.transaction(step, key, value_from_callable=True)
        await self._state.pubsub.publish(self._state.keys.overlay_changed(), str(after.revision))
        return after


def composed(before: Layered, patch: Document) -> Layered:
    """What was before, and then `patch`."""
    removed, stated = _composed(before.removed, before.stated, patch)
    return Layered(removed, stated, before.revision + 1)


def _composed(removed: Document, stated: Document, patch: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    removed, stated = dict(removed), dict(stated)
    for key, value in patch.items():
        if value is None:
            removed[key] = None
            stated.pop(key, None)
        elif not isinstance(value, Mapping):
            stated[key] = value
        else:
            if key in stated and not isinstance(stated[key], Mapping):
                removed[key], stated[key] = None, {}
            gone = removed.get(key, {}) is None
            inner, stated[key] = _composed(removed.get(key) or {}, stated.get(key, {}), value)
            if inner and not gone:
                removed[key] = inner
    return removed, stated


def forgotten(before: Layered, place: tuple[str, ...]) -> Layered:
    """Without what the overlay says at `place`."""
    return Layered(without(before.removed, place), without(before.stated, place), before.revision + 1)


def without(document: Document, place: tuple[str, ...]) -> Document:
    """The document without what stands at `place`, nor the objects that are empty then."""
    if not place or place[0] not in document:
        return {} if not place else document
    first, rest = place[0], place[1:]
    if rest and not isinstance(document[first], Mapping):
        return document
    others = {key: value for key, value in document.items() if key != first}
    inner = without(document[first], rest) if rest else {}
    return {**others, first: inner} if inner else others


def _layered(found: Mapping[Any, Any]) -> Layered:
    if not found:
        return Layered()
    try:
        removed, stated = json.loads(found["removed"]), json.loads(found["stated"])
        revision = int(found["revision"])
    except (ValueError, KeyError, RecursionError) as error:
        raise ConfigurationError(UNREADABLE) from error
    if not isinstance(removed, dict) or not isinstance(stated, dict):
        raise ConfigurationError(UNREADABLE)
    return Layered(removed, stated, revision)


def _written(layered: Layered) -> dict[Any, Any]:
    removed, stated = (json.dumps(patch, separators=(",", ":")) for patch in layered.patches)
    if len(removed) + len(stated) > LARGEST:
        raise ConfigurationError(f"the overlay would have more than {LARGEST} characters")
    return {"removed": removed, "stated": stated, "revision": layered.revision}
