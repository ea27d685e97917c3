"""Scopes, and which of them stand for others. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

SCOPES: Final = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", "admin")
"""All scopes of Switchboard itself; configuration may add some per tool."""

ADVERTISED: Final = tuple(scope for scope in SCOPES if scope != "admin")
"""What clients are told of: some ask for all that they are told of, and nobody should manage a server by accident."""

IMPLIES: Final[Mapping[str, Collection[str]]] = {
    "admin": frozenset({"mcp"}),
    "mcp": frozenset({"mcp:tools", "mcp:resources", "mcp:prompts"}),
}


def expanded(granted: Collection[str], implies: Mapping[str, Collection[str]] = IMPLIES) -> frozenset[str]:
    """What `granted` amounts to, implied scopes included."""
    held, fresh = set(granted), list(granted)
    while fresh:
        implied = set(implies.get(fresh.pop(), ())) - held
        held |= implied
        fresh.extend(implied)
    return frozenset(held)


def missing(
    granted: Collection[str], needed: Collection[str], implies: Mapping[str, Collection[str]] = IMPLIES
) -> frozenset[str]:
    """Those of `needed` that `granted` does not amount to."""
    return frozenset(needed) - expanded(granted, implies)
