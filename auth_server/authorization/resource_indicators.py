"""What may be asked for: resources (RFC 8707) and scopes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auth_server.errors import Refusal

SELECTORS = ("preset", "tags")
"""What may select a part of a resource in its query."""

OPENID = ("openid", "profile", "email", "address", "phone", "offline_access")
"""Scopes of OpenID Connect: they ask about the person, which no token of ours tells."""

_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#:@\[\]]+)(:(?P<port>[0-9]*))?"
    r"(?P<path>(/[^?#]*)?)(\?(?P<query>[^#]*))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def resource(requested: Sequence[str], known: Sequence[str]) -> str:
    """The configured resource that a request means.

    Clients that name none (2025-03-26) mean the first. Scheme and host are the same in capitals, and a default port or
    a trailing slash makes no difference: URL libraries change them. Clients name the URL they were given, so what
    selects a part of a resource (`?preset=…&tags=…`) may stand there, and its origin alone means the first that is
    there. The token is for the resource as it is configured, whatever it was called.
    """
    if not requested:
        return known[0]
    if len(requested) > 1:
        raise Refusal("invalid_target", "a token is for one resource; name only one")
    wanted = _named(requested[0])
    for item in known:
        if requested[0] == item or (wanted is not None and _named(item) == wanted):
            return item
    for item in known:
        named = _named(item)
        if named is not None and wanted == (*named[:2], "") and "?" not in requested[0]:
            return item
    raise Refusal("invalid_target", "this server issues no tokens for that resource")


def _named(address: str) -> tuple[str, str, str] | None:
    """Scheme, authority and path of a resource's address, as its spellings agree on them; `None` for no such one."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not _selects(match["query"]):
        return None
    scheme, host, port = match["scheme"].lower(), match["host"].lower(), match["port"] or ""
    authority = host if port in ("", _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    return scheme, authority, match["path"].removesuffix("/")


def _selects(query: str | None) -> bool:
    """Whether there is no query, or one that selects a part of the resource."""
    return query is None or all(pair.partition("=")[0] in SELECTORS for pair in query.split("&"))


def well_formed(scope: str) -> bool:
    """Whether this may be a scope (RFC 6749 §3.3)."""
    return _SCOPE.fullmatch(scope) is not None


def scopes(requested: str, held: Sequence[str], default: str, known: Sequence[str]) -> str:
    """The scopes to grant, in the order of `held`.

    What does not exist here is left out (RFC 6749 §3.3), and the answer says what was granted: clients ask every server
    for `openid profile email`, and whether they get a refresh token depends on their registration. A scope that exists
    and is not held is refused, and so is a request of which nothing is left.
    """
    wanted = set(requested.split(" ")) - {"", *OPENID} or set(default.split())
    if not all(map(well_formed, wanted)):
        raise Refusal("invalid_scope", "the scope is not well-formed")
    existing = wanted & {*known, *held}
    if not existing <= set(held):
        raise Refusal("invalid_scope", "a requested scope cannot be granted here")
    if not existing:
        raise Refusal("invalid_scope", "there is no scope that could be granted")
    return " ".join(scope for scope in held if scope in existing)
