"""Who the client is when a proxy stands between: `X-Forwarded-*` and `Forwarded` (RFC 7239), from trusted proxies only.

Read from the right: each trusted proxy vouches for the address it saw. A request that carries both families is taken by
`X-Forwarded-For`, so a proxy must drop the one it does not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.hosts import split_host

Network = IPv4Network | IPv6Network
_SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss")}
_FIELDS = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")


class TrustedProxies:
    """Puts the client's address, scheme and host into the scope when a trusted proxy says them."""

    def __init__(self, app: ASGIApp, networks: Iterable[Network]) -> None:
        self.app = app
        self._networks = tuple(networks)
        self._trusts = lru_cache(maxsize=4096)(self._contains)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client and self._networks and self._trusts(client[0]):
            self._apply(scope)
        await self.app(scope, receive, send)

    def _contains(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._networks)

    def _apply(self, scope: Scope) -> None:
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _FIELDS:
                said.setdefault(name, []).extend(_elements(value.decode("latin-1")))
        if not said:
            return
        hops = (
            _x_forwarded(said)
            if b"x-forwarded-for" in said
            else [_forwarded(each) for each in said.get(b"forwarded", ())]
        )
        hop = self._client(hops)
        proto = hop.get("proto") or _last(said.get(b"x-forwarded-proto"))
        host = hop.get("host") or _last(said.get(b"x-forwarded-host"))
        if hop.get("for"):
            scope["client"] = (hop["for"], 0)
        if proto.lower() in _SCHEMES:
            scope["scheme"] = _SCHEMES[proto.lower()][scope["type"] == "websocket"]
        if host and split_host(host):
            scope["headers"] = [*(h for h in scope["headers"] if h[0] != b"host"), (b"host", host.encode("latin-1"))]

    def _client(self, hops: Sequence[dict[str, str]]) -> dict[str, str]:
        """The nearest hop that is not a trusted proxy, else the farthest; what an obfuscated hop hides stays hidden."""
        known: dict[str, str] = {}
        for hop in reversed(hops):
            address = hop.get("for", "")
            if not _is_address(address):
                break
            known = hop
            if not self._trusts(address):
                break
        return known


def _elements(value: str) -> list[str]:
    """A comma-separated header, with commas inside quotes left alone."""
    if '"' not in value:
        return [element.strip() for element in value.split(",") if element.strip()]
    elements, quoted, current = [], False, ""
    for character in value:
        quoted ^= character == '"'
        if character == "," and not quoted:
            elements.append(current.strip())
            current = ""
        else:
            current += character
    return [element for element in [*elements, current.strip()] if element]


def _x_forwarded(said: dict[bytes, list[str]]) -> list[dict[str, str]]:
    return [{"for": _bare_address(address)} for address in said[b"x-forwarded-for"]]


def _forwarded(element: str) -> dict[str, str]:
    """One hop of RFC 7239: `for=192.0.2.60;proto=http;host=example.com`."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    hop = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
    return hop | {"for": _bare_address(hop.get("for", ""))}


def _bare_address(value: str) -> str:
    """An address without port or brackets: `[2001:db8::1]:80` and `192.0.2.1:80` lose theirs."""
    value = value.strip().strip('"')
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0] if value.count(":") == 1 else value


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _last(values: list[str] | None) -> str:
    return values[-1] if values else ""
