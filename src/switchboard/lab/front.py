"""What the lab does before a server's way in: it takes what is asked of its own origin.

The origin is another name of the same server, so that its root can be a scenario's. A request for that name whose path
is the lab's goes on as one for a path below the lab's, by the name that the server has: the guard of hosts, the limits
and the log see an ordinary request of the lab. Any other path of that name goes on as it came, and is answered, or
refused by the guard of hosts, as without a lab.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.hosts import split_host, split_origin
from switchboard.lab.addresses import ROOT, Address, Addresses
from switchboard.lab.hops import Place

ASKED: Final = "switchboard.lab.asked"
"""The member of a scope with the path that was asked of the lab's own origin. No request can set it."""

_PREFLIGHT: Final = b"access-control-request-headers"
_VERSION: Final = b"mcp-protocol-version"


class Front:
    """Stands before `app`, behind trusted proxies, which say what host was asked.

    Args:
        base_uri: of this server.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses, base_uri: str) -> None:
        self._app = app
        self._addresses = addresses
        parts = urlsplit(base_uri)
        self._own_name = parts.netloc.encode()
        self._below = f"{parts.path}/lab/origin"
        self._origin = split_origin(addresses.origin) if addresses.origin else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._taken(scope)
        await self._app(scope, receive, send)

    def _taken(self, scope: Scope) -> Scope:
        path = scope["path"]
        if self._origin is not None and self._is_asked(scope) and self._is_of_lab(path):
            below = f"{self._below}{path}"
            headers = [(name, self._own_name if name == b"host" else value) for name, value in scope["headers"]]
            return {**scope, "path": below, "raw_path": quote(below).encode(), "headers": headers, ASKED: path}
        if scope["method"] == "OPTIONS" and self._refuses(scope):
            return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"origin"]}
        return scope

    def _refuses(self, scope: Scope) -> bool:
        """Whether it is a preflight that a scenario refuses: without Origin, nothing before the lab answers it."""
        asked = b",".join(value for name, value in scope["headers"] if name == _PREFLIGHT).lower().split(b",")
        address = self._addresses.find(scope["path"]) if _VERSION in {each.strip() for each in asked} else None
        return address is not None and refuses_preflight(address)

    def _is_of_lab(self, path: str) -> bool:
        return path in ROOT or self._addresses.find_at_origin(path) is not None

    def _is_asked(self, scope: Scope) -> bool:
        """Whether the one Host header names the origin; which scheme a proxy was asked by makes no difference."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        named = split_host(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if named is None or self._origin is None:
            return False
        scheme, host, port = self._origin
        default = "443" if scheme == "https" else "80"
        return named[0] == host and (named[1] or default) == (port or default)


def refuses_preflight(address: Address) -> bool:
    """Whether pages may not ask for a document with headers of their own."""
    refuses = address.scenario.behaviour.discovery.preflight == "refused"
    return refuses and address.place in (Place.RESOURCE_METADATA, Place.ISSUER_METADATA)
