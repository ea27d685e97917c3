"""Reading the audit log: the newest entries, and whether all of it is as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchboard.audit.entries import CHAIN, MAC, NUMBER, PREVIOUS, faults, signing_key
from switchboard.state import State

PAGE: Final = 1_000

USES: Final = 2_000
"""Entries in which the last use of a credential is looked for."""

CHAINING: Final = (CHAIN, NUMBER, PREVIOUS, MAC)
"""The fields of an entry that say nothing of what happened."""

Entry = tuple[str, Mapping[str, str]]


@dataclass(frozen=True)
class Verification:
    """What was found in the whole log."""

    entries: int
    faults: Sequence[str]


async def older(state: State, before: str = "", count: int = PAGE) -> list[Entry]:
    """Entries (id and fields), the newest first: those before the one of an id, if it is given.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    with state.guard():
        found: Any = await state.redis.xrevrange(state.keys.audit(), f"({before}" if before else "+", count=count)
    return list(found)


async def newest(state: State, count: int) -> list[Entry]:
    """The newest entries, the oldest of them first. Raises as `older`."""
    return list(reversed(await older(state, count=count)))


async def last_uses(state: State) -> dict[tuple[str, str], float]:
    """When credentials were read last, in Unix seconds by label and owner, of those in the newest USES entries.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    found: dict[tuple[str, str], float] = {}
    for _, entry in await older(state, count=USES):
        if entry.get("event") == "credential.read" and entry.get("outcome") == "ok":
            who = entry.get("owner") or entry.get("who", "")
            found.setdefault((entry.get("what", ""), "" if who == "gateway" else who), float(entry.get("at", 0)))
    return found


async def verify(state: State, secret_keys: Sequence[str]) -> Verification:
    """Read all entries, and see whether any was changed, put in, or taken out between others.

    Args:
        secret_keys: SECRET_KEY; of entries from before it was replaced, the old ones are needed too.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    entries: list[Entry] = []
    start = "-"
    while True:
        with state.guard():
            page: Any = await state.redis.xrange(state.keys.audit(), min=start, count=PAGE)
        entries += page
        if len(page) < PAGE:
            return Verification(len(entries), list(faults(entries, [signing_key(key) for key in secret_keys])))
        start = f"({page[-1][0]}"


def shown(entry: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The fields that say what happened."""
    return ((name, value) for name, value in entry.items() if name not in CHAINING)
