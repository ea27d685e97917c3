"""The middleware of an authorization server in a process of its own: probes, the check of Host, security headers.

In a worker, the middleware of `switchboard.http` does this.
"""

from __future__ import annotations

from collections.abc import Iterable

from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, StrictTransportSecurity, XContentTypeOptions
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth_server.settings import AuthSettings
from switchboard.common.hosts import LOOPBACK, HostPatterns, is_loopback, split_origin

HEALTH = "/healthz"
ANY_HOST = frozenset({HEALTH, "/introspect"})
"""Asked by orchestrators and by resource servers under whatever name the network has for this process. The first tells
nothing, the second only who authenticates: there is nothing to be won by another name that leads here."""

_ONE_YEAR = 31_536_000


def own_hosts(settings: AuthSettings, bind: str) -> tuple[str, ...]:
    """The hosts that are this server's: the issuer's, and loopback where it lives there."""
    parts = split_origin(settings.origin)
    host = parts[1] if parts else ""
    return (*([host] if host else []), *(LOOPBACK if is_loopback(bind) or is_loopback(host) else ()))


class StandaloneMiddleware:
    """Wraps the application.

    Args:
        app: all endpoints.
        settings: of the server.
        hosts: host patterns that are answered; others get 421 (RFC 9110 §15.5.20), which ends DNS rebinding.
    """

    def __init__(self, app: ASGIApp, settings: AuthSettings, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = HostPatterns(hosts)
        self._health = {HEALTH, settings.path + HEALTH}
        self._any_host = {prefix + path for prefix in ("", settings.path) for path in ANY_HOST}
        self._headers = _headers(https=settings.secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._own_answer(scope)
        await (answer or self._app)(scope, receive, secured)

    def _own_answer(self, scope: Scope) -> JSONResponse | None:
        if scope["path"] in self._health:
            return JSONResponse({"status": "ok"})
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return JSONResponse(_error("a request has exactly one Host header"), 400)
        if scope["path"] not in self._any_host and hosts[0] not in self._hosts:
            return JSONResponse(_error("this server does not answer for that host (ALLOWED_HOSTS)"), 421)
        return None


def _error(description: str) -> dict[str, str]:
    return {"error": "invalid_request", "error_description": description}


def _headers(*, https: bool) -> dict[str, str]:
    """For every answer, where it does not say itself what holds: nothing may be run, framed or sniffed."""
    return dict(
        Secure(
            csp=ContentSecurityPolicy().default_src("'none'").frame_ancestors("'none'"),
            hsts=StrictTransportSecurity().max_age(_ONE_YEAR) if https else None,
            referrer=ReferrerPolicy().no_referrer(),
            xcto=XContentTypeOptions().nosniff(),
        ).headers
    )
