"""One list of a snapshot, cut into pages.

A cursor says which list it belongs to and where to go on: nothing of the snapshot, so that a cursor from one worker, or
from before a change, still works on another. A list that shrank answers a stale cursor with an empty last page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from mcp.server.caching import CacheHint

from switchboard.plugins.api import Kind
from switchboard.protocol.resource_uris import canonical

DEFAULT_PAGE_SIZE = 250

WIRE_KEYS: Mapping[Kind, str] = {
    "tools": "tools",
    "resources": "resources",
    "templates": "resourceTemplates",
    "prompts": "prompts",
}
"""The member of a list result that holds the items."""

CHARACTERS_A_TOKEN: Final = 4
"""A rule of thumb: within a quarter of what common tokenizers make of JSON Schema in English."""

_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_CURSOR = re.compile(r"(tools|resources|templates|prompts):([1-9][0-9]{0,8})", re.ASCII)


class InvalidCursor(ValueError):
    """The cursor was not minted here, or for another list."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on offer: how clients know it, whose it is, and how its provider knows it."""

    exposed: str
    """The name, URI or URI template that clients see."""

    provider: str
    name: str
    """What the provider itself calls it."""

    wire: Mapping[str, Any]
    """The definition as it goes out."""

    tags: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    """What a token needs, all of them, besides what the kind of thing needs anyway."""

    _digest: bytes = field(default=b"", init=False, repr=False, compare=False)
    _tokens: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def digest(self) -> bytes:
        """Equal for entries that are equal in everything that a client or a request could notice; made once."""
        if not self._digest:
            shape = [self.provider, self.name, self.wire, sorted(self.tags), sorted(self.scopes)]
            text = json.dumps(shape, sort_keys=True, separators=(",", ":"))
            object.__setattr__(self, "_digest", hashlib.sha256(text.encode()).digest())
        return self._digest

    @property
    def tokens(self) -> int:
        """About how many tokens the definition costs a model that is shown it; found out once."""
        if not self._tokens:
            object.__setattr__(self, "_tokens", tokens(self.wire))
        return self._tokens


@dataclass(frozen=True)
class Listing:
    """Everything of one kind, in order."""

    kind: Kind
    entries: Mapping[str, Entry] = field(default_factory=dict)
    page_size: int = DEFAULT_PAGE_SIZE
    hint: CacheHint = field(default_factory=lambda: CacheHint(scope="public"))
    digest: str = ""
    unlisted: Mapping[str, Entry] = field(default_factory=dict)
    """What can be found by its name although no page has it."""

    _wires: tuple[Mapping[str, Any], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Pages are slices of this tuple: no list is built anew for a request.
        object.__setattr__(self, "_wires", tuple(entry.wire for entry in self.entries.values()))

    def find(self, exposed: str) -> Entry | None:
        """The entry behind a name that clients use."""
        return self.entries.get(exposed) or self.unlisted.get(exposed)

    def find_equal(self, uri: str) -> Entry | None:
        """The entry of a URI, or of the first that is the same (RFC 3986 §6.2.2)."""
        return self.find(uri) or self._by_canonical.get(canonical(uri))

    @cached_property
    def _by_canonical(self) -> Mapping[str, Entry]:
        return {canonical(exposed): entry for exposed, entry in reversed(list(self.entries.items()))}

    def page(self, cursor: str | None) -> dict[str, Any]:
        """The list result in wire form.

        Raises:
            InvalidCursor: the cursor is not one of this list's.
        """
        start = 0 if cursor is None else position(self.kind, cursor)
        end = start + self.page_size
        result: dict[str, Any] = {
            "resultType": "complete",
            WIRE_KEYS[self.kind]: self._wires[start:end],
            "ttlMs": self.hint.ttl_ms,
            "cacheScope": self.hint.scope,
        }
        if end < len(self._wires):
            result["nextCursor"] = cursor_at(self.kind, end)
        return result

    def begins_page(self, cursor: str | None) -> bool:
        """Whether the pages, followed from the first, come by this cursor."""
        if cursor is None:
            return True
        offset = position(self.kind, cursor)
        return offset < len(self._wires) and offset % self.page_size == 0


def tokens(wire: Mapping[str, Any]) -> int:
    """About how many tokens a definition costs a model that is shown it."""
    return math.ceil(len(_written(wire)) / CHARACTERS_A_TOKEN)


def cursor_at(kind: Kind, offset: int) -> str:
    """An opaque cursor for the items from `offset` (at least 1) on."""
    return base64.urlsafe_b64encode(f"{kind}:{offset}".encode()).decode().rstrip("=")


def position(kind: Kind, cursor: str) -> int:
    """Where `cursor` goes on.

    Raises:
        InvalidCursor: it was not minted by `cursor_at` for this kind.
    """
    try:
        text = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise InvalidCursor("Invalid cursor") from error
    match = _CURSOR.fullmatch(text)
    if match is None or cursor_at(kind, int(match[2])) != cursor:
        raise InvalidCursor("Invalid cursor")
    return int(match[2])
