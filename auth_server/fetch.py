"""Fetching JSON from addresses that clients name, without being turned on the network this server runs in.

Only https; no redirects; no proxy from the environment; every address of the host must be public, in all the forms an
address can hide in another; the connection is made to the address that was checked, while the certificate is checked
for the name; the answer is small and comes soon.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2

from auth_server.addresses import is_public
from auth_server.breakers import Breakers
from switchboard.errors import AuthorizationUnavailable

TIMEOUT = 5.0
AT_ONCE = 16

Resolve = Callable[[str, int], Awaitable[list[str]]]


class FetchRefused(Exception):
    """The address may not be asked, or its answer is not usable."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON object, and the headers it came with."""

    document: dict[str, Any]
    headers: Mapping[str, str]


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


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
        resolve: Resolve = resolve,
        public: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._breakers = breakers or Breakers()
        self._resolve = resolve
        self._public = public
        self._context = context
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def get(self, url: str, limit: int) -> Fetched:
        """The JSON object at `url`, of `limit` bytes at most.

        Raises:
            FetchRefused: the address or the answer is not acceptable.
            AuthorizationUnavailable: too many fetches are under way, or the host did not answer lately.
        """
        parts = safe_url(url)
        if parts is None:
            raise FetchRefused("the address is not acceptable")
        if self._turns.locked():
            raise AuthorizationUnavailable("too many documents are being fetched")
        if self._breakers.is_open(parts.netloc):
            raise AuthorizationUnavailable("the host of a document did not answer lately")
        heard: list[str] = []
        async with self._turns:
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await self._fetch(parts, limit, heard)
            except (TimeoutError, OSError, httpx2.HTTPError) as error:
                if not heard:
                    self._breakers.silent(parts.netloc)
                # One message for all: what exactly went wrong would map the network for whoever asks.
                raise FetchRefused("the document could not be fetched") from error

    async def _fetch(self, parts: SplitResult, limit: int, heard: list[str]) -> Fetched:
        address = await self._address(parts)
        host = parts.hostname or ""
        target = httpx2.URL(scheme="https", host=address, port=parts.port, raw_path=_path(parts).encode())
        headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        context = self._context or httpx2.create_ssl_context(trust_env=False)
        async with (
            httpx2.AsyncClient(verify=context, trust_env=False, timeout=TIMEOUT, follow_redirects=False) as http,
            http.stream("GET", target, headers=headers, extensions={"sni_hostname": host}) as response,
        ):
            heard.append(parts.netloc)
            self._breakers.answered(parts.netloc)
            if response.status_code != 200:
                raise FetchRefused("the document could not be fetched")
            return Fetched(_object(await _body(response, limit)), dict(response.headers))

    async def _address(self, parts: SplitResult) -> str:
        found = await self._resolve(parts.hostname or "", parts.port or 443)
        # All of them: a name with one public and one private address is an attempt to get at the private one.
        if not found or not all(self._public(address) for address in found):
            raise FetchRefused("the document could not be fetched")
        return found[0]


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


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FetchRefused("the document is not JSON") from error
    if not isinstance(document, dict):
        raise FetchRefused("the document is not a JSON object")
    return document
