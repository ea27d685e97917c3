"""An issuer's metadata (RFC 8414, OpenID Connect Discovery): fetched when needed, kept for an hour.

Takes an HTTP client with a timeout, which the caller closes. An old document serves while the issuer is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from switchboard.common import strict_json
from switchboard.common.breaker import Breaker
from switchboard.common.visible_text import excerpt
from switchboard.errors import AuthorizationUnavailable

KEPT_S: Final = 3_600.0
MAX_DOCUMENT: Final = 1_048_576


class OtherIssuer(AuthorizationUnavailable):
    """The metadata is another issuer's; `named` is what it calls itself."""

    def __init__(self, message: str, named: str) -> None:
        super().__init__(message)
        self.named = named


class Discovery:
    """Finds the endpoints of one issuer. The document must name exactly this issuer (RFC 8414 §3.3).

    Args:
        http: one pooled client.
        issuer: byte for byte as the metadata names it.
        addresses: where the document may be; by default all three places that the specifications name.
        breaker: when to stop asking an issuer that does not answer.
        clock: Unix seconds.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        issuer: str,
        *,
        addresses: Sequence[str] = (),
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._addresses = addresses or addresses_of(issuer)
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: Mapping[str, Any] | None = None
        self._until = 0.0
        self._error = AuthorizationUnavailable("it was not asked")

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
        """The document; an old one when the issuer cannot be reached to renew it.

        Raises:
            OtherIssuer: it names another issuer.
            AuthorizationUnavailable: it cannot be had.
        """
        async with self._lock:
            if self._found is None or self._until <= self._clock():
                await self._renew()
            if self._found is None:
                raise self._error.with_traceback(None)
            return self._found

    async def _renew(self) -> None:
        if not self._breaker.allows(self._clock()):
            return
        other: OtherIssuer | None = None
        faults = []
        for url in self._addresses:
            try:
                document = await read_json(self._http, url)
            except Unreadable as error:
                faults.append(f"{url} {error}")
                continue
            if document.get("issuer") == self._issuer:
                self._found, self._until = document, self._clock() + KEPT_S
                self._breaker.succeeded()
                return
            other = other or self._of_another(url, document)
        self._error = other or AuthorizationUnavailable(self._unread("; ".join(faults)))
        self._breaker.failed(self._clock())

    def _of_another(self, url: str, document: Mapping[str, Any]) -> OtherIssuer:
        said = document.get("issuer")
        named = excerpt(said) if isinstance(said, str) else "nowhere"
        fault = f"{url} names the issuer {named}, which must be the same, byte for byte"
        return OtherIssuer(self._unread(fault), named)

    def _unread(self, why: str) -> str:
        return f"the metadata of {self._issuer} cannot be read: {why}"


def addresses_of(issuer: str) -> tuple[str, ...]:
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
        return strict_json.read_object(response.content)
    except ValueError as error:
        raise Unreadable(str(error)) from None
