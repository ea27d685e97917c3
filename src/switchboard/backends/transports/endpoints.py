"""The way to one server under one URL or several: which of them to take, and through which proxy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx2

from switchboard.backends.transports.http_client import HttpClient
from switchboard.backends.transports.http_client.adapter import ClientTransport

AVOIDED_S: Final = 10.0
"""How long a URL that did not answer is left alone, as long as another one is there."""

PROXY_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=20)


class Endpoints:
    """The connections to one backend, shared by all its connections.

    Args:
        max_bytes: bytes of a message.
        clock: seconds.
    """

    def __init__(self, urls: Sequence[str], max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.urls = tuple(httpx2.URL(url) for url in urls)
        self.origins = frozenset((url.scheme, url.netloc) for url in self.urls)
        """Where credentials for the backend may go."""
        self.max_bytes = max_bytes
        self._clock = clock
        self._turns = count()
        self.client = HttpClient()
        self._direct = ClientTransport(self.client)
        self._proxied: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._proxies: dict[tuple[str, str], str | None] = {}
        self._avoided: dict[httpx2.URL, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Endpoints]:
        """Close the connections on the way out."""
        try:
            yield self
        finally:
            for transport in (self._direct, *self._proxied.values()):
                await transport.aclose()

    def choose(self) -> httpx2.URL:
        """The next URL in turn, of those that are not avoided; of all, if all are."""
        if not self._avoided:
            return self.urls[next(self._turns) % len(self.urls)]
        up = [url for url in self.urls if not self._is_avoided(url)] or list(self.urls)
        return up[next(self._turns) % len(up)]

    def others(self, tried: Sequence[httpx2.URL]) -> list[httpx2.URL]:
        """Where else to try; those that answered lately first."""
        return sorted((url for url in self.urls if url not in tried), key=self._is_avoided)

    def avoid(self, url: httpx2.URL) -> None:
        """It did not answer."""
        self._avoided[url] = self._clock() + AVOIDED_S

    def answered(self, url: httpx2.URL) -> None:
        """It is up."""
        if self._avoided:
            self._avoided.pop(url, None)

    def transport(self, url: httpx2.URL) -> httpx2.AsyncBaseTransport:
        """Directly, or through the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
        proxy = self._proxy(url)
        if proxy is None:
            return self._direct
        if proxy not in self._proxied:
            self._proxied[proxy] = httpx2.AsyncHTTPTransport(limits=PROXY_LIMITS, proxy=proxy)
        return self._proxied[proxy]

    def is_direct(self, url: httpx2.URL) -> bool:
        """Whether no proxy stands between."""
        return self._proxy(url) is None

    def _proxy(self, url: httpx2.URL) -> str | None:
        where = (url.scheme, url.host)
        if where not in self._proxies:
            known = getproxies()
            found = known.get(url.scheme) or known.get("all")
            if not found or proxy_bypass(url.host):
                self._proxies[where] = None
            else:
                self._proxies[where] = found if "://" in found else f"http://{found}"
        return self._proxies[where]

    def _is_avoided(self, url: httpx2.URL) -> bool:
        return self._clock() < self._avoided.get(url, self._clock())
