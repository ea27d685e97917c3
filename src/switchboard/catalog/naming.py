"""Which name each tool and prompt is offered under.

The rules, in order; earlier claims win and nothing depends on chance:

1. A `never` provider keeps its own names. The first provider in order wins a name; a later one's is rejected.
2. An `always` provider's names are `<provider><separator><name>`.
3. A `conflict` provider keeps a name that nobody else claims and otherwise takes the prefixed one. So adding a second
   `conflict` provider may rename; `always` never does.
4. A name that is taken, or that is not allowed on the wire, is rejected: reported, not offered.

https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-names
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from switchboard.config import Prefix
from switchboard.plugins.api import Kind

__all__ = ["Claim", "Naming", "Prefix", "Rejection", "resolve"]

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_ANY_NAME = re.compile(r".+", re.DOTALL)
ALLOWED: Mapping[Kind, re.Pattern[str]] = {"tools": TOOL_NAME, "prompts": _ANY_NAME}


@dataclass(frozen=True, slots=True)
class Naming:
    """How names are put together."""

    separator: str = "__"

    def prefixed(self, provider: str, name: str) -> str:
        """The name with its provider in front."""
        return f"{provider}{self.separator}{name}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something that a provider offers and the catalog does not; for logs and operators."""

    kind: Kind
    provider: str
    name: str
    reason: str


class Claim(NamedTuple):
    """One provider's own name for one thing."""

    provider: str
    name: str
    prefix: Prefix


def resolve(kind: Kind, claims: Sequence[Claim], naming: Naming) -> tuple[Mapping[str, Claim], tuple[Rejection, ...]]:
    """Exposed name → claim, in the order of the claims, and what was rejected."""
    granted: dict[str, Claim] = {}
    rejected: list[Rejection] = []
    for exposed, claim in _wishes(claims, naming):
        if not ALLOWED[kind].fullmatch(exposed):
            rejected.append(Rejection(kind, claim.provider, claim.name, f"{exposed!r} is not a valid name"))
        elif exposed in granted:
            owner = granted[exposed].provider
            rejected.append(Rejection(kind, claim.provider, claim.name, f"{exposed!r} is taken by {owner!r}"))
        else:
            granted[exposed] = claim
    position = {claim: index for index, claim in enumerate(claims)}
    ordered = sorted(granted.items(), key=lambda item: position[item[1]])
    return dict(ordered), tuple(rejected)


def _wishes(claims: Sequence[Claim], naming: Naming) -> Iterator[tuple[str, Claim]]:
    """Every claim with the name it asks for, strongest claims first."""
    yield from ((claim.name, claim) for claim in _with(claims, "never"))
    yield from ((naming.prefixed(claim.provider, claim.name), claim) for claim in _with(claims, "always"))
    contested = Counter(claim.name for claim in claims if claim.prefix != "always")
    fixed = {naming.prefixed(claim.provider, claim.name) for claim in _with(claims, "always")}
    for claim in _with(claims, "conflict"):
        free = contested[claim.name] == 1 and claim.name not in fixed
        yield (claim.name if free else naming.prefixed(claim.provider, claim.name)), claim


def _with(claims: Iterable[Claim], prefix: Prefix) -> Iterator[Claim]:
    return (claim for claim in claims if claim.prefix == prefix)
