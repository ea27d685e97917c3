"""An issuer's metadata (RFC 8414, OpenID Connect Discovery): fetched when needed, kept for an hour."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from switchboard import strict_json
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity.breaker import Breaker
from switchboard.identity.cache import OneAtATime

KEPT = 3_600.0
MAX_DOCUMENT = 1_048_576


class Discovery:
    """Finds the endpoints of one issuer. The document must name exactly this issuer (RFC 8414 §3.3)."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        issuer: str,
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._turns = OneAtATime()
        self._found: Mapping[str, Any] | None = None
        self._until = 0.0

    async def endpoint(self, name: str) -> str:
        """An address the metadata names.

        Raises:
            AuthorizationUnavailable: the metadata cannot be had, or does not name it.
        """
        value = (await self.metadata()).get(name)
        if not isinstance(value, str) or not value:
            raise AuthorizationUnavailable(f"the metadata of {self._issuer} has no {name}")
        return value

    async def metadata(self) -> Mapping[str, Any]:
        """The document; an old one when the issuer cannot be reached to renew it."""
        async with self._turns.holding(""):
            if self._found is None or self._until <= self._clock():
                await self._renew()
            if self._found is None:
                raise AuthorizationUnavailable(f"the metadata of {self._issuer} cannot be read")
            return self._found

    async def _renew(self) -> None:
        if not self._breaker.allows(self._clock()):
            return
        for url in addresses(self._issuer):
            document = await fetch_json(self._http, url)
            if document is not None and document.get("issuer") == self._issuer:
                self._found, self._until = document, self._clock() + KEPT
                self._breaker.succeeded()
                return
        self._breaker.failed(self._clock())


def addresses(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be, in the order of the MCP authorization specification."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    found = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(found))


async def fetch_json(http: httpx2.AsyncClient, url: str) -> dict[str, Any] | None:
    """The JSON object at `url`, or `None` when there is none to be had: every failure of the network means the same."""
    try:
        response = await http.get(url, headers={"Accept": "application/json"})
        if response.status_code != 200 or len(response.content) > MAX_DOCUMENT:
            return None
        document = strict_json.read(response.content)
    except (httpx2.HTTPError, ValueError):
        return None
    return document if isinstance(document, dict) else None
