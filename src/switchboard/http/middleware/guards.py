"""Which hosts and origins may speak to this server: the defence against DNS rebinding.

MCP 2025-11-25, Transports, "Security warning": a server must check `Origin`, and answer 403 where it is not allowed.
A `Host` that is not ours is 421 (RFC 9110 §15.5.20): the request was meant for somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.hosts import LOOPBACK, HostPatterns, OriginPatterns, is_loopback, split_origin
from switchboard.http.middleware.cors import PublicPaths
from switchboard.http.responses import refuse

PROBES = frozenset({"/healthz", "/readyz"})
"""Asked by orchestrators under whatever name or address a container has; they tell nothing worth rebinding for."""


FOREIGN_HOST: Final = (421, "This server does not answer for that host (ALLOWED_HOSTS)")


def probes(base_path: str) -> frozenset[str]:
    """The probes at the root, where orchestrators ask, and below the path of the public URL."""
    return PROBES | {base_path + probe for probe in PROBES}


def default_hosts(base_uri: str, bind_host: str) -> tuple[str, ...]:
    """The hosts that are ours when nothing is configured: the public one, and loopback where we live there."""
    base = _base(base_uri)
    return (base[1], *(LOOPBACK if is_loopback(bind_host) or is_loopback(base[1]) else ()))


def default_origins(base_uri: str, bind_host: str) -> tuple[str, ...]:
    """The origins that may call when nothing is configured: our own pages, and local tools where we are local."""
    scheme, host, port = _base(base_uri)
    own = f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"
    local = is_loopback(bind_host) or is_loopback(host)
    return (own, *(f"{each}://{name}:*" for each in ("http", "https") for name in LOOPBACK if local))


def _base(base_uri: str) -> tuple[str, str, str]:
    scheme, _, rest = base_uri.partition("://")
    parts = split_origin(f"{scheme}://{rest.partition('/')[0]}")
    if parts is None:
        raise ValueError(f"{base_uri!r} is not a base URI")
    return parts


class Guards:
    """Refuses requests for a foreign host (421) or from a foreign origin (403)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        public: Iterable[str] = (),
        probes: frozenset[str] = PROBES,
    ) -> None:
        self.app = app
        self._probes = probes
        self._public = PublicPaths(public)
        self._hosts = HostPatterns(hosts)
        self._origins = OriginPatterns(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] != "lifespan" and scope["path"] not in self._probes else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await refuse(scope, send, *refusal)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        hosts, origins = [], []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        if len(hosts) != 1 or len(origins) > 1:
            return 400, "A request has exactly one Host header, and one Origin header at most"
        if hosts[0].decode("latin-1") not in self._hosts:
            return FOREIGN_HOST
        if origins and not self._allows(origins[0].decode("latin-1"), scope["path"]):
            return 403, "This origin may not call this server (ALLOWED_ORIGINS)"
        return None

    def _allows(self, origin: str, path: str) -> bool:
        return path in self._public or origin in self._origins
