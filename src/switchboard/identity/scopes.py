"""Scopes, and which of them include others. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

SCOPES: Final = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", "admin:read", "admin")
"""All scopes of Switchboard itself; configuration may add some per tool."""

OPERATORS: Final = frozenset({"admin", "admin:read"})

ADVERTISED: Final = tuple(scope for scope in SCOPES if scope not in OPERATORS)
"""The scopes in metadata: some clients ask for all of them, so those of operators are not among them."""

IMPLIES: Final[Mapping[str, Collection[str]]] = {
    "admin": frozenset({"mcp", "admin:read"}),
    "mcp": frozenset({"mcp:tools", "mcp:resources", "mcp:prompts"}),
}


def expanded(granted: Collection[str], implies: Mapping[str, Collection[str]] = IMPLIES) -> frozenset[str]:
    """The granted scopes with those that they include."""
    held, fresh = set(granted), list(granted)
    while fresh:
        implied = set(implies.get(fresh.pop(), ())) - held
        held |= implied
        fresh.extend(implied)
    return frozenset(held)


def missing(
    granted: Collection[str], needed: Collection[str], implies: Mapping[str, Collection[str]] = IMPLIES
) -> frozenset[str]:
    """Those of `needed` that are neither granted nor included."""
    return frozenset(needed) - expanded(granted, implies)


_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 §3.3: a role of another form can be granted, but not asked for."""


@dataclass(frozen=True, slots=True)
class ScopeNames:
    """The issuer's names for our scopes, as clients have to ask for them there.

    Args:
        to_ours: the issuer's names and ours, in the order of the setting: of several names for one of ours, clients are
            told the first that can be asked for. A scope without a name there has the same name at the issuer.
    """

    to_ours: Mapping[str, str] = field(default_factory=dict)

    def needed(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """What to ask for so that a token covers all of `scopes`."""
        return tuple(dict.fromkeys(self._name(scope) or scope for scope in scopes))

    def offered(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """What to ask for to get `scopes`, or those of their parts that the issuer has names for."""
        found: list[str] = []
        for scope in scopes:
            name = self._name(scope)
            parts = [self._name(part) for part in sorted(IMPLIES.get(scope, ()))] if name is None else []
            found.extend([name] if name else [part for part in parts if part] or [scope])
        return tuple(dict.fromkeys(found))

    def _name(self, scope: str) -> str | None:
        """The name of the scope itself, or of one that includes it, but for those of operators."""
        wider = [each for each, implied in IMPLIES.items() if each not in OPERATORS and scope in implied]
        for ours in (scope, *wider):
            for theirs, meant in self.to_ours.items():
                if meant == ours and _SCOPE_TOKEN.fullmatch(theirs):
                    return theirs
        return None
