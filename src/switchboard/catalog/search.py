"""Finding tools by what they are for, and what lists cost a model. Pure.

The score of a tool is a sum over the words of the query: rarer words weigh more (BM25's inverse document frequency),
a word in the name counts three times one in the description, and a beginning of a word half the word.
"""

from __future__ import annotations

import heapq
import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from switchboard.catalog.pages import Entry

SEARCHER: Final = ":search"
"""The provider of the two tools below; no other can have a name with a colon."""

DISCOVER: Final = "discover_tools"
CALL: Final = "call_tool"

MOST_RESULTS: Final = 50
USUAL_RESULTS: Final = 10

SHORTEST_BEGINNING: Final = 3
"""Letters of the shortest word that stands for those that begin with it."""

_PLACES: Final = 10
"""More than the weights of one word in one tool come to: 9."""

_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)")
_WORD = re.compile(r"[^\W_]+")

DEFINITIONS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "name": DISCOVER,
        "title": "Discover tools",
        "description": (
            "Find tools by what they are for. Not all tools of this server are listed: describe in a few words what "
            "you want to do, then call what you found, by its name or through call_tool."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What the tool should do; empty for all tools."},
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": USUAL_RESULTS},
            },
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": CALL,
        "title": "Call a discovered tool",
        "description": "Call a tool that discover_tools found, with the arguments that its input schema asks for.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["name"],
        },
    },
)


@dataclass(frozen=True)
class Found:
    """A tool that a search came up with."""

    entry: Entry
    score: float


def search_entries() -> tuple[Entry, ...]:
    """The entries of the two tools."""
    return tuple(Entry(wire["name"], SEARCHER, wire["name"], wire) for wire in DEFINITIONS)


class ToolIndex:
    """The words of many tools, for one search after another.

    Making it takes some 50 ms of processor time for each thousand tools. A search looks at nothing but the tools that
    have one of its words.
    """

    def __init__(self, tools: Mapping[str, Entry]) -> None:
        self._entries = tuple(tools.values())
        self.estimated_tokens = sum(entry.tokens for entry in self._entries)
        """Of all definitions together."""
        self._having: dict[str, array[int]] = {}
        """Word → the places of the tools that have it, each with the word's weight there as its last digit."""
        for place, entry in enumerate(self._entries):
            for word, weight in _weights(entry).items():
                self._having.setdefault(word, array("q")).append(place * _PLACES + weight)
        self._words = sorted(self._having)

    def __len__(self) -> int:
        return len(self._entries)

    def search(self, query: str, limit: int = USUAL_RESULTS) -> list[Found]:
        """The best matches, the best first; without a query the first in order."""
        wanted = dict.fromkeys(words(query))
        if not wanted:
            return [Found(entry, 0.0) for entry in self._entries[:limit]]
        scores: dict[int, float] = {}
        for word in wanted:
            found = self._likest(word)
            rarity = math.log(1 + (len(self._entries) + 0.5) / (len(found) + 0.5))
            for place, likeness in found.items():
                scores[place] = scores.get(place, 0.0) + rarity * likeness
        best = heapq.nsmallest(limit, ((-score, place) for place, score in scores.items()))
        return [Found(self._entries[place], -score) for score, place in best]

    def _likest(self, wanted: str) -> dict[int, float]:
        """Of each tool with a word like this one, by its place: the most that such a word says of it."""
        found: dict[int, float] = {}
        for word, likeness in self._like(wanted):
            for each in self._having[word]:
                place, weight = divmod(each, _PLACES)
                found[place] = max(found.get(place, 0.0), likeness * weight)
        return found

    def _like(self, wanted: str) -> Iterator[tuple[str, float]]:
        """The words that are this one, that begin with it, and with which it begins; and how like it they are."""
        if wanted in self._having:
            yield wanted, 1.0
        for end in range(SHORTEST_BEGINNING, len(wanted)):
            if wanted[:end] in self._having:
                yield wanted[:end], 0.5
        if len(wanted) < SHORTEST_BEGINNING:
            return
        for place in range(bisect_right(self._words, wanted), len(self._words)):
            if not self._words[place].startswith(wanted):
                return
            yield self._words[place], 0.5


def words(text: str) -> list[str]:
    """Lower-case words of a text or a name: `getHTTPStatus_codes` is get, http, status, codes."""
    return [word.lower() for word in _WORD.findall(_SEAM.sub(" ", text))]


def _weights(entry: Entry) -> Mapping[str, int]:
    wire = entry.wire
    counted: dict[str, int] = {}
    for text, weight in (
        (entry.exposed, 3),
        (str(wire.get("title", "")), 3),
        (str(wire.get("description", "")), 1),
        (" ".join(wire.get("inputSchema", {}).get("properties", ())), 1),
        (" ".join(entry.tags), 1),
    ):
        for word in set(words(text)):
            counted[word] = counted.get(word, 0) + weight
    return counted
