"""Claims by name, nested ones by a path: `realm_access.roles` is `roles` in the object `realm_access`. A leaf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """The claim, or `None`. One whose name is all of `name` comes first: names may be URLs, which have dots too."""
    if name in claims:
        return claims[name]
    for dot in (place for place, char in enumerate(name) if char == "."):
        inner = claims.get(name[:dot])
        found = claim_at(inner, name[dot + 1 :]) if isinstance(inner, Mapping) else None
        if found is not None:
            return found
    return None
