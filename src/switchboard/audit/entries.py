"""Entries of the audit log, and the chain that each process makes of its own.

`mac` authenticates every other field of an entry, of which `chain` names the process, `n` counts its entries, and
`prev` is the `mac` of the one before. So nobody without SECRET_KEY can change an entry, put one in, or take one out
between two others unnoticed.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from pydantic_core import to_json

from switchboard.keys import derive

MAX_FIELD_BYTES: Final = 512
"""Of each field; the rest is cut off."""

CHAIN, NUMBER, PREVIOUS, MAC = "chain", "n", "prev", "mac"

ENTRY: Final = "e"
"""The field that holds a whole entry as JSON, in the log of calls."""


def signing_key(secret: str) -> bytes:
    """The key that entries are authenticated with, of one SECRET_KEY."""
    return bytes.fromhex(derive(secret, "audit log"))


class Chain:
    """The entries of one process.

    Args:
        key: the newest `signing_key` of the fleet.
        name: what it is called, besides a random part.
    """

    def __init__(self, key: bytes, name: str) -> None:
        self._key = key
        self._name = f"{name}:{secrets.token_hex(4)}"
        self._number = 0
        self._last = ""

    def link(self, fields: Mapping[str, str]) -> dict[str, str]:
        """An entry of these fields, as the next of the chain."""
        self._number += 1
        entry = {name: cut(value) for name, value in fields.items()}
        entry |= {CHAIN: self._name, NUMBER: str(self._number), PREVIOUS: self._last}
        entry[MAC] = self._last = _mac(self._key, entry)
        return entry


def faults(entries: Iterable[tuple[str, Mapping[str, str]]], keys: Sequence[bytes]) -> Iterator[str]:
    """What is wrong with entries (id and fields), a line each.

    An entry may stand twice, and after a later one: it was sent again when Redis was back. The first entry of a chain
    that is still there may follow others, which the retention took.

    Args:
        keys: `signing_key` of every key of SECRET_KEY.
    """
    chains: defaultdict[str, dict[int, tuple[str, Mapping[str, str]]]] = defaultdict(dict)
    for id_, entry in entries:
        if _genuine(entry, keys):
            chains[entry[CHAIN]][int(entry[NUMBER])] = (id_, entry)
        else:
            yield f"{id_}: changed, or written without SECRET_KEY"
    for name, chain in chains.items():
        numbers = sorted(chain)
        for before, number in pairwise(numbers):
            id_, entry = chain[number]
            if number != before + 1:
                yield f"{id_}: of {name}, {number - before - 1} entries before this one are missing"
            elif entry[PREVIOUS] != chain[before][1][MAC]:
                yield f"{id_}: of {name}, the entry before this one is another than was written"


def _genuine(entry: Mapping[str, str], keys: Sequence[bytes]) -> bool:
    fields = {name: value for name, value in entry.items() if name != MAC}
    given = entry.get(MAC, "").encode(errors="replace")
    numbered = re.fullmatch("[0-9]{1,18}", entry.get(NUMBER, "")) and CHAIN in entry and PREVIOUS in entry
    return bool(numbered) and any(hmac.compare_digest(_mac(key, fields).encode(), given) for key in keys)


def _mac(key: bytes, entry: Mapping[str, str]) -> str:
    """Over the fields in their order, which a stream keeps."""
    return hmac.digest(key, to_json(entry), "sha256").hex()[:32]


def cut(text: str) -> str:
    """As much of a field as an entry takes."""
    if len(text) <= MAX_FIELD_BYTES and text.isascii():
        return text
    return text.encode(errors="replace")[:MAX_FIELD_BYTES].decode(errors="ignore")
