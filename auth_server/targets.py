"""What may be asked for: resources (RFC 8707) and scopes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auth_server.errors import Refusal

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def resource(requested: Sequence[str], known: Sequence[str]) -> str:
    """The configured resource that a request means.

    Clients that name none (2025-03-26) mean the first. A trailing slash makes no difference: URL libraries
    add it.
    """
    if not requested:
        return known[0]
    if len(requested) > 1:
        raise Refusal("invalid_target", "a token is for one resource; name only one")
    for item in known:
        if item.rstrip("/") == requested[0].removesuffix("/"):
            return item
    raise Refusal("invalid_target", "this server issues no tokens for that resource")


def well_formed(scope: str) -> bool:
    """Whether this may be a scope (RFC 6749 §3.3)."""
    return _SCOPE.fullmatch(scope) is not None


def scopes(requested: str, supported: Sequence[str], default: str) -> str:
    """The scopes to grant, in the order of `supported`.

    `offline_access` is dropped without a word: whether a client gets a refresh token depends on its registration.
    """
    wanted = set(requested.split(" ")) - {"", "offline_access"} or set(default.split())
    if not all(map(well_formed, wanted)):
        raise Refusal("invalid_scope", "the scope is not well-formed")
    if not wanted <= set(supported):
        raise Refusal("invalid_scope", "a requested scope does not exist here")
    if not wanted:
        raise Refusal("invalid_scope", "there is no scope that could be granted")
    return " ".join(scope for scope in supported if scope in wanted)
