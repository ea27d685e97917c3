"""Which name each tool and prompt is offered under.

The rules, in order; earlier claims win and nothing depends on chance:

1. A `never` provider keeps its own names. The first provider in order wins a name; a later one's is rejected.
2. An `always` provider's names are `<provider><separator><name>`.
3. A `conflict` provider keeps a name that nobody else claims and otherwise takes the prefixed one. So adding a second
   `conflict` provider may rename; `always` never does.
4. A tool's name that the wire does not allow is made to fit (`fitted`), and so is one that is too long. Names of one
   provider that become the same get a digest of what they were, each of them, so that none depends on their order; so
   does one that becomes a name which somebody has by the rules above.
5. A name that is taken is rejected: reported, not offered.

https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-names
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from switchboard.config import Prefix
from switchboard.plugins.api import Kind

__all__ = ["Claim", "Naming", "Prefix", "Rejection", "resolve"]

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
LONGEST: Final = 128
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Naming:
    """How names are put together."""

    separator: str = "__"

    def prefixed(self, provider: str, name: str) -> str:
        """The name with its provider in front."""
        return f"{provider}{self.separator}{name}"


@dataclass(frozen=True, slots=True)
class Renaming:
    """Something that is offered under another name than its provider's, because that does not fit."""

    kind: Kind
    provider: str
    name: str
    exposed: str


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


def fitted(kind: Kind, name: str) -> str:
    """The name with what a tool's cannot have replaced: `user/profile` is `user_profile`. Other kinds take any name.

    Accents are dropped. Where nothing can be read any more, or too much is left, a digest of the name tells it from
    others; so the same name becomes the same on every worker, and after every start.
    """
    if kind != "tools" or TOOL_NAME.fullmatch(name):
        return name
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    fit = _UNFIT.sub("_", plain).strip("_")
    if not re.search(r"[A-Za-z0-9]", fit):
        return f"tool_{_digest(name)}"
    return _shortened(fit, name, LONGEST)


def _shortened(fit: str, name: str, most: int) -> str:
    if len(fit) <= most:
        return fit
    return f"{fit[: most - 9]}_{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]


def resolve(kind: Kind, claims: Sequence[Claim], naming: Naming) -> tuple[Mapping[str, Claim], tuple[Rejection, ...]]:
    """Exposed name → claim, in the order of the claims, and what was rejected."""
    granted: dict[str, Claim] = {}
    rejected: list[Rejection] = []
    for exposed, claim, made in _told_apart(list(_wishes(kind, claims, naming))):
        name = _with_digest(exposed, claim) if made and exposed in granted else exposed
        if not claim.name:
            rejected.append(Rejection(kind, claim.provider, claim.name, "it has no name"))
        elif name in granted:
            owner = granted[name].provider
            rejected.append(Rejection(kind, claim.provider, claim.name, f"{name!r} is taken by {owner!r}"))
        else:
            granted[name] = claim
    position = {claim: index for index, claim in enumerate(claims)}
    ordered = sorted(granted.items(), key=lambda item: position[item[1]])
    return dict(ordered), tuple(rejected)


class _Wish(NamedTuple):
    exposed: str
    claim: Claim
    made: bool
    """Whether the name was made to fit."""


def _told_apart(wishes: Sequence[_Wish]) -> Iterator[_Wish]:
    """The wishes, with a digest on every name made to fit that the same provider has twice."""
    times = Counter((wish.claim.provider, wish.exposed) for wish in wishes)
    for wish in wishes:
        doubled = wish.made and times[wish.claim.provider, wish.exposed] > 1
        yield wish._replace(exposed=_with_digest(wish.exposed, wish.claim)) if doubled else wish


def _with_digest(exposed: str, claim: Claim) -> str:
    return f"{exposed[: LONGEST - 9]}_{_digest(claim.name)}"


def _wishes(kind: Kind, claims: Sequence[Claim], naming: Naming) -> Iterator[_Wish]:
    """Every claim with the name it asks for, strongest claims first."""
    fits = {claim: fitted(kind, claim.name) for claim in claims}

    def prefixed(claim: Claim) -> _Wish:
        whole = naming.prefixed(claim.provider, fits[claim])
        exposed = _shortened(whole, claim.name, LONGEST) if kind == "tools" else whole
        return _Wish(exposed, claim, exposed != naming.prefixed(claim.provider, claim.name))

    def bare(claim: Claim) -> _Wish:
        return _Wish(fits[claim], claim, fits[claim] != claim.name)

    yield from (bare(claim) for claim in _with(claims, "never"))
    always = [prefixed(claim) for claim in _with(claims, "always")]
    yield from always
    contested = Counter(fits[claim] for claim in claims if claim.prefix != "always")
    fixed = {wish.exposed for wish in always}
    for claim in _with(claims, "conflict"):
        free = contested[fits[claim]] == 1 and fits[claim] not in fixed
        yield bare(claim) if free else prefixed(claim)


def _with(claims: Iterable[Claim], prefix: Prefix) -> Iterator[Claim]:
    return (claim for claim in claims if claim.prefix == prefix)
