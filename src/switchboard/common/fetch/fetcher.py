"""Fetching JSON from addresses that clients name, without being turned on the network this server runs in.

Only https; no redirects; no proxy from the environment; every address of the host must be public, in all the forms an
address can hide in another; the connection is made to the address that was checked, while the certificate is checked
for the name; the answer is small and comes soon.

Strangers may name addresses, so fetches under way are bounded: in all, for each source of requests, and for each
host. A request beyond that is told to try again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2

from switchboard.common import strict_json
from switchboard.common.breaker import Breakers
from switchboard.common.fetch.public_addresses import is_public
from switchboard.common.fetch.shares import Shares
from switchboard.common.resolver import Resolver
from switchboard.errors import AuthorizationUnavailable

TIMEOUT = 5.0
"""Seconds for looking up a host, and again for the document."""

AT_ONCE, BY_SOURCE, BY_HOST = 64, 4, 16
"""Documents under way: in all, for one source, from one host."""

LOOK_UPS, LOOK_UPS_BY_SOURCE = 32, 4
"""Hosts being looked up. A look-up counts until it has ended, whether or not a request still waits for it."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""`(host, port)` → the addresses of a host."""

source: ContextVar[str] = ContextVar("source", default="")
"""Whose request this is, for the shares: the bucket of its address."""


class FetchRefused(Exception):
    """The address may not be asked, or its answer is not usable."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON object, and the headers it came with."""

    document: dict[str, Any]
    headers: Mapping[str, str]


def system_resolver() -> Resolve:
    """All addresses of a host by the system's resolver, with look-ups of its own: the loop's stay free for others."""
    resolver = Resolver(Shares(LOOK_UPS, source=LOOK_UPS_BY_SOURCE))

    async def resolve(host: str, _port: int) -> list[str]:
        found = await resolver.find(host, kind=socket.SOCK_STREAM, source=source.get())
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    return resolve


def safe_url(url: str) -> SplitResult | None:
    """The parts of a URL that may be asked at all: https, a host, and nothing that hides where it leads."""
    if len(url) > 2_000 or not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}#'):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable and "@" not in parts.netloc else None


class Fetcher:
    """Gets JSON objects from the public internet.

    Args:
        resolve: the addresses of a host.
        public: which of them may be connected to.
        context: how certificates are checked; the system's authorities when not given.
        breakers: which hosts are left alone for a moment.
    """

    def __init__(
        self,
        resolve: Resolve | None = None,
        public: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._breakers = breakers or Breakers()
        self._given = resolve
        self._resolve = resolve or system_resolver()
        self._public = public
        self._context = context
        self._shares = Shares(AT_ONCE, source=BY_SOURCE, host=BY_HOST)
        self._under_way: dict[tuple[str, int], asyncio.Future[Fetched]] = {}

    def apart(self) -> Fetcher:
        """One like this with shares of its own, for addresses that the operator chose."""
        return Fetcher(self._given, self._public, self._context)

    async def get(self, url: str, limit: int) -> Fetched:
        """The JSON object at `url`, of `limit` bytes at most; who asks for one that is under way waits for that.

        Raises:
            FetchRefused: the address or the answer is not acceptable.
            AuthorizationUnavailable: too much is under way, the host did not answer lately, or cannot be looked up now.
        """
        parts = safe_url(url)
        if parts is None:
            raise FetchRefused("the address is not acceptable")
        under_way = self._under_way.get((url, limit))
        if under_way is not None:
            return await asyncio.shield(under_way)
        if not self._breakers.allows(_place(parts)):
            raise AuthorizationUnavailable("the host of a document did not answer lately")
        give_back = self._shares.take(source=source.get(), host=host_of(parts))
        if give_back is None:
            raise AuthorizationUnavailable("too many documents are being fetched")
        found: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._under_way[url, limit] = found
        try:
            found.set_result(await self._fetched(parts, limit))
        except (FetchRefused, AuthorizationUnavailable) as error:
            found.set_exception(error)
            raise
        finally:
            del self._under_way[url, limit]
            give_back()
            if not found.done():
                found.set_exception(AuthorizationUnavailable("the request that fetched the document was cancelled"))
            found.exception()  # retrieved here: perhaps no other request waits
        return found.result()

    async def _fetched(self, parts: SplitResult, limit: int) -> Fetched:
        address = await public_address(parts, self._resolve, self._public)
        reached = _Reached()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._fetch(parts, address, limit, reached)
        except (TimeoutError, OSError, httpx2.HTTPError) as error:
            # Only a host that cannot be connected to counts: any client may name a page of it that is slow.
            (self._breakers.succeeded if reached.it else self._breakers.failed)(_place(parts))
            raise FetchRefused(_NOT_FETCHED) from error

    async def _fetch(self, parts: SplitResult, address: str, limit: int, reached: _Reached) -> Fetched:
        target = httpx2.URL(scheme="https", host=address, port=parts.port, raw_path=_path(parts).encode())
        headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        extensions = {"sni_hostname": parts.hostname, "trace": reached.note}
        async with (
            httpx2.AsyncClient(
                verify=self._context or authorities(), trust_env=False, timeout=TIMEOUT, follow_redirects=False
            ) as http,
            http.stream("GET", target, headers=headers, extensions=extensions) as response,
        ):
            self._breakers.succeeded(_place(parts))
            if response.status_code != 200:
                raise FetchRefused(_NOT_FETCHED)
            body = await _body(response, limit)
            try:
                return Fetched(strict_json.read_object(body), dict(response.headers))
            except ValueError as error:
                raise FetchRefused(f"the document {error}") from None


async def public_address(parts: SplitResult, resolve: Resolve, public: Callable[[str], bool] = is_public) -> str:
    """An address of a host, all of which are public.

    Raises:
        FetchRefused: there is none, or one of them is not public.
        AuthorizationUnavailable: the host cannot be looked up now.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await resolve(parts.hostname or "", parts.port or 443)
    except (TimeoutError, OSError) as error:
        if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
            raise FetchRefused(_NOT_FETCHED) from error
        # Not the host's fault, and not the client's.
        raise AuthorizationUnavailable("the host of a document cannot be looked up now") from error
    # All of them: a name with one public and one private address is an attempt to get at the private one.
    if not found or not all(public(address) for address in found):
        raise FetchRefused(_NOT_FETCHED)
    return found[0]


_NOT_FETCHED = "the document could not be fetched"
"""One message for all: what exactly went wrong would tell strangers about the network."""


class _Reached:
    """Whether a host could be connected to."""

    def __init__(self) -> None:
        self.it = False

    async def note(self, event: str, _about: Mapping[str, Any]) -> None:
        """What the HTTP client reports of itself."""
        self.it = self.it or event == "connection.connect_tcp.complete"


@cache
def authorities() -> ssl.SSLContext:
    """The certificate authorities of the system; reading them takes a while."""
    return httpx2.create_ssl_context(trust_env=False)


def host_of(parts: SplitResult) -> str:
    """The host of an address in the one form that it is counted by."""
    return (parts.hostname or "").lower().removesuffix(".")


def _place(parts: SplitResult) -> str:
    return f"{host_of(parts)}:{parts.port or 443}"


def _path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


async def _body(response: httpx2.Response, limit: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchRefused("the document is compressed though that was not asked for")
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise FetchRefused("the document is too large")
    return body
