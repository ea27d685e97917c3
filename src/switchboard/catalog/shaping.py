"""What a provider's configuration makes of what it offers: left out, renamed, labelled. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, get_args
from urllib.parse import unquote

from switchboard.catalog.naming import fitted
from switchboard.catalog.uris import places, readings
from switchboard.config import Exposure
from switchboard.plugins.api import Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Patterns:
    """Patterns by kind: `delete_*` is about tools, `resources:file://*` about resources.

    A pattern about resources is held against every URI that servers may read a URI as: to match, one of them is enough,
    in whatever case; to be admitted, all of them must match as they are.
    """

    texts: tuple[str, ...] = ()

    @cached_property
    def by_kind(self) -> Mapping[Kind, re.Pattern[str]]:
        """One expression for each kind that patterns were given for."""
        found: dict[Kind, list[str]] = {}
        for text in self.texts:
            kind, pattern = split(text)
            found.setdefault(kind, []).append(expression(pattern))
            if kind == "resources":
                found[kind].append(expression(_decoded(pattern)))
        return {kind: re.compile("|".join(each), re.DOTALL) for kind, each in found.items()}

    @cached_property
    def _in_any_case(self) -> re.Pattern[str] | None:
        pattern = self.by_kind.get("resources")
        return re.compile(pattern.pattern, re.DOTALL | re.IGNORECASE) if pattern is not None else None

    def match(self, kind: Kind, name: str) -> bool:
        """Whether one of them matches."""
        if kind == "resources":
            return self._in_any_case is not None and _any_place(self._in_any_case, name)
        pattern = self.by_kind.get(kind)
        return pattern is not None and pattern.fullmatch(name) is not None

    def admit(self, kind: Kind, name: str) -> bool:
        """Whether one of them matches, or none is about this kind."""
        pattern = self.by_kind.get(kind)
        if pattern is None or kind != "resources":
            return pattern is None or self.match(kind, name)
        found = readings(name)
        return bool(found) and all(pattern.fullmatch(reading) for reading in found)


def _any_place(pattern: re.Pattern[str], uri: str) -> bool:
    """A URI that is encoded too deep to be read counts as matched: nobody can say that it is not meant."""
    found = places(uri)
    return not found or any(pattern.fullmatch(place) for place in found)


def _decoded(pattern: str) -> str:
    scheme, colon, rest = pattern.partition(":")
    return scheme.lower() + colon + unquote(rest).replace("\\", "/")


def split(text: str) -> tuple[Kind, str]:
    """The kind a pattern is about, and the pattern. No tool's name has a colon, so nothing is ambiguous."""
    for kind in KINDS:
        if text.startswith(f"{kind}:"):
            return kind, text.removeprefix(f"{kind}:")
    return "tools", text


def expression(pattern: str) -> str:
    """`*` and `?` as a regular expression; every other character stands for itself."""
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)


@dataclass(frozen=True)
class Shape:
    """One provider's exposure, compiled."""

    exposure: Exposure

    @cached_property
    def _allow(self) -> Patterns:
        return Patterns(self.exposure.allow)

    @cached_property
    def _deny(self) -> Patterns:
        return Patterns(self.exposure.deny)

    @cached_property
    def _rules(self) -> tuple[tuple[Patterns, frozenset[str], frozenset[str]], ...]:
        rules = self.exposure.tools.items()
        return tuple((Patterns((text,)), frozenset(rule.tags), frozenset(rule.scopes)) for text, rule in rules)

    def offers(self, kind: Kind, name: str) -> bool:
        """Whether the provider may offer this at all: allowed and denied by any name that it has or gets."""
        names = self._names(kind, name)
        return any(self._allow.admit(kind, each) for each in names) and not any(
            self._deny.match(kind, each) for each in names
        )

    def shown(self, kind: Kind, name: str) -> str:
        """What the thing is called before a prefix; `rename` finds it by its own name, or by the one made fit."""
        if kind != "tools":
            return name
        return self.exposure.rename.get(name) or self.exposure.rename.get(fitted(kind, name)) or name

    def _match(self, rule: Patterns, kind: Kind, name: str) -> bool:
        return any(rule.match(kind, each) for each in self._names(kind, name))

    def _names(self, kind: Kind, name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((name, fitted(kind, name), self.shown(kind, name))))

    def tags(self, kind: Kind, name: str) -> frozenset[str]:
        """The provider's, and those of rules that match."""
        return frozenset(self.exposure.tags).union(
            *(tags for rule, tags, _ in self._rules if self._match(rule, kind, name))
        )

    def scopes(self, kind: Kind, name: str) -> frozenset[str]:
        """What a call needs, by all rules that match."""
        return NOTHING.union(*(scopes for rule, _, scopes in self._rules if self._match(rule, kind, name)))


AS_IT_IS: Final = Shape(Exposure())


def shapes(exposures: Mapping[str, Exposure]) -> Mapping[str, Shape]:
    """Compiled, by provider."""
    return {provider: Shape(exposure) for provider, exposure in exposures.items()}
