"""Reading the audit log: the newest entries, and whether all of it, or a copy of it, is as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from switchboard.audit.entries import CHAIN, ENTRY, MAC, NUMBER, PREVIOUS, faults, signing_key
from switchboard.state import State

PAGE: Final = 1_000

USES: Final = 2_000
"""Entries in which the last use of a credential is looked for."""

CHAINING: Final = (CHAIN, NUMBER, PREVIOUS, MAC)
"""The fields of an entry that say nothing of what happened."""

Entry = tuple[str, Mapping[str, str]]

Log = Literal["changes", "calls"]
"""Which of the two: changes and uses of credentials, or calls of tools, reads of resources and prompts."""


@dataclass(frozen=True)
class Verification:
    """What was found in the whole log."""

    entries: int
    faults: Sequence[str]


async def older(state: State, before: str = "", count: int = PAGE, log: Log = "changes") -> list[Entry]:
    """Entries (id and fields), the newest first: those before the one of an id, if it is given.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    with state.guard():
        found: Any = await state.redis.xrevrange(_stream(state, log), f"({before}" if before else "+", count=count)
    return [(id_, _fields(entry)) for id_, entry in found]


async def newest(state: State, count: int, log: Log = "changes") -> list[Entry]:
    """The newest entries, the oldest of them first. Raises as `older`."""
    return list(reversed(await older(state, count=count, log=log)))


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
    """Read all entries of both logs, and see whether any was changed, put in, or taken out between others.

    Args:
        secret_keys: SECRET_KEY; of entries from before it was replaced, the old ones are needed too.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    entries = [*await _all(state, "changes"), *await _all(state, "calls")]
    return Verification(len(entries), list(faults(entries, [signing_key(key) for key in secret_keys])))


async def _all(state: State, log: Log) -> list[Entry]:
    entries: list[Entry] = []
    start = "-"
    while True:
        with state.guard():
            page: Any = await state.redis.xrange(_stream(state, log), min=start, count=PAGE)
        entries += [(id_, _fields(entry)) for id_, entry in page]
        if len(page) < PAGE:
            return entries
        start = f"({page[-1][0]}"


def verify_lines(lines: Iterable[str], secret_keys: Sequence[str]) -> Verification:
    """Whether exported JSON lines are as they were written: none changed, put in, or missing between others.

    Lines may stand in any order, twice, and of both logs together. That the first or the last lines of a process are
    missing cannot be seen: what the retention took looks the same.
    """
    entries: list[Entry] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        entry = _parsed(line)
        if entry is None or "id" not in entry:
            wrong.append(f"line {number}: no entry of an audit log, as `switchboard audit export` writes them")
        else:
            entries.append((f"line {number} ({entry.pop('id')})", entry))
    wrong += faults(entries, [signing_key(key) for key in secret_keys])
    return Verification(len(entries), wrong)


def _stream(state: State, log: Log) -> str:
    return state.keys.audit() if log == "changes" else state.keys.audited_calls()


def _fields(stored: Mapping[str, str]) -> Mapping[str, str]:
    """The fields of an entry of either log; one of calls that cannot be read has the text alone, and is not genuine."""
    if ENTRY not in stored:
        return stored
    found = _parsed(stored[ENTRY])
    return stored if found is None or len(stored) > 1 else found


def _parsed(text: str) -> dict[str, str] | None:
    """An object of texts, as an entry is written in JSON; `None` for anything else."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return None
    return found


def shown(entry: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The fields that say what happened."""
    return ((name, value) for name, value in entry.items() if name not in CHAINING)
