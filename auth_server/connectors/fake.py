"""The fake identity provider, which takes any user id without proof. For development and tests.

A small real provider all the same: its own pages, its own single-use codes, its own `iss`. It sends browsers to this
server's callback and nowhere else, and shows nothing that it was sent.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth_server.connectors.base import LoginRedirect
from auth_server.errors import PageRefusal, SignInRefused
from auth_server.http.error_middleware import Page
from auth_server.http.rate_limits import RateLimits
from auth_server.http.redirect import see
from auth_server.models import Identity
from auth_server.params import form, parse
from auth_server.settings import AuthSettings
from auth_server.store import Records
from switchboard.common.hosts import is_loopback
from switchboard.common.pages.renderer import Pages
from switchboard.errors import ConfigurationError

AUTHORIZE = "/fakeupstreamauth/authorize"
REDIRECT = "/fakeupstreamauth/redirect"

CODE = "fake-code"
_CODE_LIVES = 60.0
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_ADJECTIVES = (
    "amber",
    "brave",
    "calm",
    "dapper",
    "eager",
    "gentle",
    "happy",
    "jolly",
    "keen",
    "merry",
    "quiet",
    "witty",
)
_ANIMALS = ("badger", "crane", "dolphin", "falcon", "gecko", "heron", "ibex", "koala", "lynx", "otter", "panda", "wren")

LOST = ("This sign-in page has lost its way", "Start again from your application.")


class FakeConnector:
    """Signs people in without asking for proof."""

    def __init__(
        self, settings: AuthSettings, records: Records, pages: Pages, callback: str, limits: RateLimits
    ) -> None:
        host = urlsplit(settings.issuer).hostname or ""
        if not (is_loopback(host) or settings.allow_fake_idp):
            raise ConfigurationError(
                f"issuer: {settings.issuer!r} is not loopback, and the fake identity provider lets everybody in; "
                "configure a real identity provider, or allow it explicitly for a test installation"
            )
        self._path = urlsplit(settings.base).path
        self._base = settings.base
        self._issuer = f"{settings.base}/fakeupstreamauth"
        self._records = records
        self._pages = pages
        self._callback = callback
        self._limited = limits.limited

    async def begin(self, state: str) -> LoginRedirect:
        """To the picker."""
        return LoginRedirect(f"{self._base}{AUTHORIZE}?{urlencode({'state': state})}")

    async def finish(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> Identity:
        """Whom the person picked."""
        if params.get("error"):
            raise SignInRefused("access_denied", "the person cancelled")
        if params.get("iss") != self._issuer:
            raise SignInRefused("server_error", "the answer came from another issuer")
        found = await self._records.take(CODE, params.get("code", ""))
        if found is None or found["state"] != params.get("state"):
            raise SignInRefused("server_error", "the code is not valid")
        return Identity(subject=found["user"])

    async def renew(self, kept: str) -> Identity:
        """Never called: nothing is kept."""
        raise SignInRefused("access_denied", "the fake identity provider keeps nothing")

    async def logged_out(self, token: str) -> str | None:
        """None: the fake identity provider has no logout."""
        return None

    def routes(self) -> list[Route]:
        """The picker and where it posts to."""
        return [
            Route(self._path + AUTHORIZE, Page(self._limited("login", self._picker), self._pages), methods=["GET"]),
            Route(
                self._path + REDIRECT,
                Page(self._limited("login", self._picked), self._pages),
                methods=["POST"],
                max_body_size=16_384,
            ),
        ]

    async def _picker(self, request: Request) -> Response:
        return self._show(_known_state(parse(request.url.query).refuse_repeated().get("state")))

    async def _picked(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        state = _known_state(params.get("state"))
        if params.get("decision") == "cancel":
            return self._back(state, error="access_denied")
        user = params.get("user_id").strip()
        if not _USER.fullmatch(user):
            return self._show(state, "Use letters, digits and . _ @ + - only, 64 at most, a letter or digit first.")
        code = await self._records.put(CODE, {"user": user, "state": state}, _CODE_LIVES)
        return self._back(state, code=code)

    def _show(self, state: str, error: str = "") -> Response:
        action = f"{self._path}{REDIRECT}"
        return self._pages.show(
            "picker.html", 400 if error else 200, state=state, suggestion=_suggestion(), error=error, action=action
        )

    def _back(self, state: str, **members: str) -> Response:
        return see(f"{self._base}{self._callback}?{urlencode(members | {'state': state, 'iss': self._issuer})}")


def _known_state(state: str) -> str:
    if not _STATE.fullmatch(state):
        raise PageRefusal(*LOST)
    return state


def _suggestion() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}-{secrets.randbelow(90) + 10}"
