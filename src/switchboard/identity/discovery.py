"""An issuer's metadata (RFC 8414, OpenID Connect Discovery): fetched when needed, kept for an hour."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from switchboard.common import strict_json
from switchboard.common.visible_text import escaped
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity.breaker import Breaker
from switchboard.identity.cache import OneAtATime

KEPT = 3_600.0
MAX_DOCUMENT = 1_048_576
_LONGEST_NAME = 300


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
        self._why = "it was not asked"

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
                raise AuthorizationUnavailable(f"the metadata of {self._issuer} cannot be read: {self._why}")
            return self._found

    async def _renew(self) -> None:
        if not self._breaker.allows(self._clock()):
            return
        other, faults = "", []
        for url in addresses(self._issuer):
            try:
                document = await read_json(self._http, url)
            except Unreadable as error:
                faults.append(f"{url} {error}")
                continue
            if document.get("issuer") == self._issuer:
                self._found, self._until = document, self._clock() + KEPT
                self._breaker.succeeded()
                return
            other = other or f"{url} names the issuer {named(document)}, which must be the same, byte for byte"
        self._why = other or "; ".join(faults)
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


class Unreadable(Exception):
    """A document that cannot be had: says what was answered instead, and nothing of its text."""


async def read_json(http: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    """The JSON object at `url`.

    Raises:
        Unreadable: there is none to be had.
    """
    try:
        response = await http.get(url, headers={"Accept": "application/json"})
    except httpx2.HTTPError as error:
        # The class alone: the message may hold parts of the request.
        raise Unreadable(f"cannot be reached ({type(error).__name__})") from None
    if response.status_code != 200:
        raise Unreadable(f"answers {response.status_code}")
    if len(response.content) > MAX_DOCUMENT:
        raise Unreadable(f"has more than {MAX_DOCUMENT} bytes")
    try:
        document = strict_json.read(response.content)
    except ValueError:
        raise Unreadable("is not JSON") from None
    if not isinstance(document, dict):
        raise Unreadable("is not a JSON object")
    return document


async def fetch_json(http: httpx2.AsyncClient, url: str) -> dict[str, Any] | None:
    """As `read_json`, or `None`, where every failure means the same."""
    try:
        return await read_json(http, url)
    except Unreadable:
        return None


def named(document: Mapping[str, Any]) -> str:
    """What a document calls its issuer, fit for a line of a log."""
    said = document.get("issuer")
    return escaped(said[:_LONGEST_NAME]) if isinstance(said, str) else "nowhere"
