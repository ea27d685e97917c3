"""The uppermost layer: changes made through the API, in Redis, for every worker of the fleet.

It lies over each worker's own file. So it also holds when files differ: what the overlay says wins on every worker,
about everything else each worker keeps its own file's word.

Merge patches (RFC 7396) do not add up to one: "take x away" and then "x is {…}" is no patch that leaves nothing of the
old x. They do add up to two, one that only takes away and one that only states, applied in this order.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis.asyncio.client import Pipeline

from switchboard.errors import ConfigurationError
from switchboard.state import State

Document = Mapping[str, Any]

LARGEST: Final = 1024 * 1024
"""Characters."""

KEPT_REVISIONS: Final = 50
KEPT_CHARACTERS: Final = 8 * LARGEST
"""Of all revisions that are kept; the newest is always."""

_NOW: Final = ("removed", "stated", "revision")
_WAS: Final = "was:"
"""Before a revision's number: its field in the hash."""

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


Check = Callable[[Layered, Layered], object]
"""`(before, after)`: raises for an overlay that must not come into force."""


def _unchecked(_before: Layered, _after: Layered) -> None:
    """Where anything may come into force: each worker checks for itself once more."""


@dataclass(frozen=True)
class Revision:
    """One overlay of those that were in force, and who brought it into force."""

    layered: Layered
    who: str
    at: float
    """Unix seconds."""


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
            found: Any = await self._state.redis.hmget(self._state.keys.overlay(), _NOW)
        return _layered(found)

    async def history(self) -> list[Revision]:
        """The last revisions, the newest first; those that were in force before this was noted are not there.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        with self._state.guard():
            found: Any = await self._state.redis.hgetall(self._state.keys.overlay())
        kept = sorted((int(key.removeprefix(_WAS)), value) for key, value in found.items() if key.startswith(_WAS))
        return [_revision(number, value) for number, value in reversed(kept)]

    async def change(self, patch: Document, check: Check = _unchecked, *, who: str = "") -> Layered:
        """Lay a merge patch onto the overlay. A `null` takes away also what lower layers say; `forget` does not.

        Args:
            who: makes the change, for the history.

        Raises:
            ConfigurationError: what `check` says, or the overlay would grow too large.
            StateUnavailable: Redis cannot be reached.
        """
        return await self._replace(lambda before: composed(before, patch), check, who)

    async def put(self, place: tuple[str, ...], value: object, check: Check = _unchecked, *, who: str = "") -> Layered:
        """Have nothing but `value` stand at `place`, whatever lower layers say there.

        Raises:
            ConfigurationError, StateUnavailable: as `change`.
        """

        return await self._replace(lambda before: replaced(before, place, value), check, who)

    async def forget(self, place: tuple[str, ...], check: Check = _unchecked, *, who: str = "") -> Layered:
        """Take away what the overlay itself says at `place`, so that the lower layers' word counts again.

        Raises:
            ConfigurationError, StateUnavailable: as `change`.
        """
        return await self._replace(lambda before: forgotten(before, place), check, who)

    async def restore(self, revision: Layered, check: Check = _unchecked, *, who: str = "") -> Layered:
        """Bring an earlier overlay into force again, as a new revision.

        Raises:
            ConfigurationError, StateUnavailable: as `change`.
        """
        return await self._replace(lambda before: replace(revision, revision=before.revision + 1), check, who)

    @asynccontextmanager
    async def watched(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        """Have `changed` called after every change, and whenever one may have been missed."""
        async with self._state.pubsub.subscribed(self._state.keys.overlay_changed(), lambda _payload: changed()):
            yield

    async def _replace(self, make: Callable[[Layered], Layered], check: Check, who: str) -> Layered:
        key = self._state.keys.overlay()

        async def step(pipe: Pipeline) -> Layered:
            found: Any = await pipe.hgetall(key)
            before = _layered([found.get(name) for name in _NOW])
            after = make(before)
            check(before, after)
            now = _written(after)
            kept = json.dumps([now["removed"], now["stated"], who, self._state.clock()], separators=(",", ":"))
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.hset(key, mapping={**now, f"{_WAS}{after.revision}": kept})
            if gone := _too_old(found, len(kept)):
                pipe.hdel(key, *gone)
            return after

        with self._state.guard():
            after: Layered = await self._state.redis.transaction(step, key, value_from_callable=True)
        await self._state.pubsub.publish(self._state.keys.overlay_changed(), str(after.revision))
        return after


def _too_old(found: Mapping[str, str], room: int) -> list[str]:
    """The fields of revisions that are kept no longer, once one more of `room` characters is."""
    fields = sorted((key for key in found if key.startswith(_WAS)), key=lambda key: -int(key.removeprefix(_WAS)))
    gone: list[str] = []
    for index, key in enumerate(fields):
        room += len(found[key])
        if index >= KEPT_REVISIONS - 1 or room > KEPT_CHARACTERS:
            gone.append(key)
    return gone


def _at(place: tuple[str, ...], value: object) -> Document:
    for part in reversed(place):
        value = {part: value}
    if not isinstance(value, dict):
        raise ValueError("no place")
    return value


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


def replaced(before: Layered, place: tuple[str, ...], value: object) -> Layered:
    """With nothing but `value` at `place`, whatever lower layers say there."""
    emptied = composed(before, _at(place, None))
    return replace(composed(emptied, _at(place, value)), revision=before.revision + 1)


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


def _layered(found: Sequence[str | None]) -> Layered:
    """Of the three fields; none of them is there before the first change."""
    if all(each is None for each in found):
        return Layered()
    try:
        removed, stated, revision = json.loads(found[0] or ""), json.loads(found[1] or ""), int(found[2] or "")
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(UNREADABLE) from error
    if not isinstance(removed, dict) or not isinstance(stated, dict):
        raise ConfigurationError(UNREADABLE)
    return Layered(removed, stated, revision)


def _revision(number: int, kept: str) -> Revision:
    removed, stated, who, at = json.loads(kept)
    return Revision(Layered(json.loads(removed), json.loads(stated), number), who, at)


def _written(layered: Layered) -> dict[Any, Any]:
    removed, stated = (json.dumps(patch, separators=(",", ":")) for patch in layered.patches)
    if len(removed) + len(stated) > LARGEST:
        raise ConfigurationError(f"the overlay would have more than {LARGEST} characters")
    return {"removed": removed, "stated": stated, "revision": layered.revision}
