"""Finding tools by what they are for, and what lists cost a model. Pure.

The score of a tool is a sum over the words of the query: rarer words weigh more (BM25's inverse document frequency),
a word in the name counts three times one in the description, and a beginning of a word half the word.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from switchboard.catalog.pages import Entry

SEARCHER: Final = ":search"
"""The provider of the two tools below; no other can have a name with a colon."""

DISCOVER: Final = "discover_tools"
CALL: Final = "call_tool"

CHARACTERS_A_TOKEN: Final = 4
"""A rule of thumb: within a quarter of what common tokenizers make of JSON Schema in English."""

MOST_RESULTS: Final = 50
USUAL_RESULTS: Final = 10

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


def tokens(wire: Mapping[str, Any]) -> int:
    """About how many tokens a definition costs a model that is shown it."""
    return math.ceil(len(json.dumps(wire, separators=(",", ":"), ensure_ascii=False)) / CHARACTERS_A_TOKEN)


def search(tools: Mapping[str, Entry], query: str, limit: int = USUAL_RESULTS) -> list[Found]:
    """The best matches, the best first; without a query the first in order."""
    wanted = set(words(query))
    if not wanted:
        return [Found(entry, 0.0) for entry in list(tools.values())[:limit]]
    texts = {name: _weights(entry) for name, entry in tools.items()}
    rarity = _rarities(texts.values(), wanted)
    found = [Found(entry, _score(texts[name], rarity)) for name, entry in tools.items()]
    return sorted((each for each in found if each.score > 0), key=lambda each: -each.score)[:limit]


def words(text: str) -> list[str]:
    """Lower-case words of a text or a name: `getHTTPStatus_codes` is get, http, status, codes."""
    return [word.lower() for word in _WORD.findall(_SEAM.sub(" ", text))]


def _weights(entry: Entry) -> Mapping[str, float]:
    wire = entry.wire
    counted: Counter[str] = Counter()
    for text, weight in (
        (entry.exposed, 3),
        (str(wire.get("title", "")), 3),
        (str(wire.get("description", "")), 1),
        (" ".join(wire.get("inputSchema", {}).get("properties", ())), 1),
        (" ".join(entry.tags), 1),
    ):
        for word in set(words(text)):
            counted[word] += weight
    return counted


def _rarities(texts: Iterable[Mapping[str, float]], wanted: Iterable[str]) -> Mapping[str, float]:
    having = list(texts)
    counts = {word: sum(any(_likeness(word, each) for each in text) for text in having) for word in wanted}
    return {word: math.log(1 + (len(having) + 0.5) / (count + 0.5)) for word, count in counts.items()}


def _score(text: Mapping[str, float], rarity: Mapping[str, float]) -> float:
    return sum(
        weight * max((_likeness(word, each) * times for each, times in text.items()), default=0)
        for word, weight in rarity.items()
    )


def _likeness(wanted: str, word: str) -> float:
    if wanted == word:
        return 1.0
    shorter, longer = sorted((wanted, word), key=len)
    return 0.5 if len(shorter) >= 3 and longer.startswith(shorter) else 0.0
