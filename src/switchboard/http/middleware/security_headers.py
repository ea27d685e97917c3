"""Security headers, composed with `secure`: one set for pages, one for everything else.

A page is what answers with HTML. What a response sets itself is kept, so a page may bring a stricter policy.

* No `form-action`: Chromium applies it to the redirect after the consent form too, which leads to the client
  (https://github.com/w3c/webappsec-csp/issues/8). The page that knows the client may name it.
* No `Cross-Origin-Opener-Policy`, on redirects neither: `same-origin` anywhere on the way (HTML §7.1.3.2 looks at each
  response of a navigation) cuts a popup in which somebody signs in off from the client that opened it. JSON, which runs
  nothing, needs none.
* `Referrer-Policy: same-origin` on pages: with `no-referrer` browsers post our own forms with `Origin: null`.
* No HSTS on plain HTTP (RFC 6797 §7.2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from secure import Secure
from secure.headers import (
    CacheControl,
    ContentSecurityPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Pairs = tuple[tuple[bytes, bytes], ...]
_ONE_YEAR = 31_536_000


def api_headers(*, https: bool) -> Pairs:
    """For JSON, event streams and redirects: nothing in them may be rendered, framed, sniffed or stored."""
    return _encoded(
        Secure(
            cache=CacheControl().no_store(),
            corp=CrossOriginResourcePolicy().same_origin(),
            csp=ContentSecurityPolicy().default_src("'none'").frame_ancestors("'none'"),
            hsts=_hsts(https),
            referrer=ReferrerPolicy().no_referrer(),
            xcto=XContentTypeOptions().nosniff(),
        )
    )


def page_headers(*, https: bool) -> Pairs:
    """For HTML: our own style and script, no framing, nothing from elsewhere."""
    return _encoded(
        Secure(
            cache=CacheControl().no_store(),
            corp=CrossOriginResourcePolicy().same_origin(),
            csp=ContentSecurityPolicy()
            .default_src("'none'")
            .script_src("'self'")
            .style_src("'self'")
            .img_src("'self'", "data:")
            .connect_src("'self'")
            .base_uri("'none'")
            .frame_ancestors("'none'"),
            hsts=_hsts(https),
            permissions=PermissionsPolicy().geolocation().microphone().camera(),
            referrer=ReferrerPolicy().same_origin(),
            xcto=XContentTypeOptions().nosniff(),
            xfo=XFrameOptions().deny(),
        )
    )


def _hsts(https: bool) -> StrictTransportSecurity | None:
    return StrictTransportSecurity().max_age(_ONE_YEAR) if https else None


def _encoded(secure: Secure) -> Pairs:
    return tuple((name.lower().encode("ascii"), value.encode("ascii")) for name, value in secure.headers.items())


class SecurityDefaults:
    """What a response says unless it says it itself."""

    def __init__(self, *, https: bool) -> None:
        self._api = api_headers(https=https)
        self._page = page_headers(https=https)
        self._names = frozenset(name for name, _ in (*self._api, *self._page))
        self.lines_of_json = b"".join(b"%b: %b\r\n" % pair for pair in self._api)
        """What `of_json` gives for a response that says none of it, as lines of its head."""

    def of_json(self, headers: Collection[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
        """What a response leaves unsaid that is JSON, and has these headers besides, in lower case."""
        if self.says_any(headers):
            return [pair for pair in self._api if all(pair[0] != said for said, _ in headers)]
        return self._api

    def says_any(self, headers: Collection[tuple[bytes, bytes]]) -> bool:
        """Whether any of it is among these headers, which are in lower case."""
        return any(name in self._names for name, _ in headers)

    def added_to(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """`headers`, and after them what they leave unsaid."""
        said = {name.lower(): value for name, value in headers}
        defaults = self._page if said.get(b"content-type", b"").startswith(b"text/html") else self._api
        if self._names.isdisjoint(said):
            return [*headers, *defaults]
        return [*headers, *(pair for pair in defaults if pair[0] not in said)]


class SecurityHeaders:
    """Adds `SecurityDefaults` to each response."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self._defaults = SecurityDefaults(https=https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._defaults.added_to(list(message.get("headers", ())))}
            await send(message)

        await self.app(scope, receive, secured)
