"""Which configured resource a request means (RFC 8707). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auth_server.errors import Refusal

SELECTORS = ("preset", "tags")
"""What may select a part of a resource in its query."""

_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#:@\[\]]+)(:(?P<port>[0-9]*))?"
    r"(?P<path>(/[^?#]*)?)(\?(?P<query>[^#]*))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


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
