"""HTTP to addresses that partly come from others: what the operator named is asked, anything else in public alone.

Whatever is asked, redirects are not followed, cookies are not kept, and an answer is as small as it is allowed to be,
and not compressed: a few bytes could become many. What the operator did not name is asked over https alone, and all
addresses of its host must be public; the connection is made to the address that was checked, the certificate is checked
for the name.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Final
from urllib.parse import urlsplit

import httpx2

from switchboard.common.fetch.fetcher import (
    FetchRefused,
    Resolve,
    authorities,
    public_address,
    safe_url,
    system_resolver,
)
from switchboard.common.fetch.public_addresses import is_public

Close = Callable[[], Awaitable[None]]

MAX_ANSWER: Final = 1_048_576
"""Bytes of an answer."""


_NAME_IT: Final = " (if it is right, it has to be named there, as `issuer` or `token_url`)"


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, the port always there; empty for what is no web address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}" if port and parts.hostname else ""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A transport for HTTP clients.

    Args:
        http: asks what the operator named; with the proxies of the environment, if it has them.
        own: origins that the operator named.
        private: whether any other address may be on a private network, and without TLS, too.
        resolve, public, context: as for `Fetcher`.
        limit: bytes of an answer.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        own: Collection[str],
        *,
        private: bool = False,
        resolve: Resolve | None = None,
        public: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
        limit: int = MAX_ANSWER,
    ) -> None:
        self._http = http
        self._own = frozenset(own)
        self._private = private
        self._resolve = resolve or system_resolver()
        self._public = public
        self._context = context
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask.

        Raises:
            FetchRefused: the address may not be asked, or its answer is not usable.
            AuthorizationUnavailable: the host cannot be looked up now.
            httpx2.TransportError: it did not answer.
        """
        request.headers["Accept-Encoding"] = "identity"
        if self._private or origin_of(str(request.url)) in self._own:
            response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
            self._http.cookies.clear()  # nobody would send them, and whoever answers could fill our memory
            return await self._bounded(response, response.aclose)
        # One for each request: a pool would share connections by address, while certificates are checked by name.
        transport = httpx2.AsyncHTTPTransport(verify=self._context or authorities(), trust_env=False)
        try:
            response = await transport.handle_async_request(await self._pinned(request))
        except BaseException:
            await transport.aclose()
            raise

        async def close() -> None:
            await response.aclose()
            await transport.aclose()

        return await self._bounded(response, close)

    async def _pinned(self, request: httpx2.Request) -> httpx2.Request:
        """The request, to an address of its host that was checked."""
        parts = safe_url(str(request.url))
        host = request.url.host
        if parts is None:
            raise FetchRefused(f"{host} is not in the configuration, so it is asked over https alone{_NAME_IT}")
        try:
            address = await public_address(parts, self._resolve, self._public)
        except FetchRefused:
            raise FetchRefused(f"{host} is not in the configuration, nor on the public internet{_NAME_IT}") from None
        headers = request.headers.copy()
        headers["Host"] = parts.netloc
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": parts.hostname},
        )

    async def _bounded(self, response: httpx2.Response, close: Close) -> httpx2.Response:
        if response.headers.get("content-encoding", "identity") != "identity":
            await close()
            raise FetchRefused("its answer is compressed, which was not asked for")
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "set-cookie"]
        return httpx2.Response(response.status_code, headers=headers, stream=_Bounded(response, close, self._limit))


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error when it has more than `limit` bytes."""

    def __init__(self, response: httpx2.Response, close: Close, limit: int) -> None:
        self._response = response
        self._close = close
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._response.aiter_raw():
            read += len(chunk)
            if read > self._limit:
                raise FetchRefused(f"its answer has more than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._close()
