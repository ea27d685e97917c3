"""The cookie that identifies a browser during an authorization, and the CSRF token of its forms."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from auth_server.crypto import KeyRing
from auth_server.errors import PageRefusal
from auth_server.settings import AuthSettings
from switchboard.common.sealing import random_token

STRANGER = (
    "This page belongs to another browser window",
    "Cookies are needed to sign in, and the one from where you started is not here. Start again from your application.",
    403,
)


class Browser:
    """Reads and writes the cookie. `__Host-` ties it to this host and https; plain http (loopback) cannot have that."""

    def __init__(self, settings: AuthSettings, ring: KeyRing) -> None:
        self._secure = settings.secure
        self._name = settings.cookie("auth-browser")
        self._lives = int(settings.lifetimes.pending) * 6
        self._ring = ring
        self._origin = settings.origin

    def known(self, request: Request) -> str:
        """This browser's secret; a new one when it has none."""
        found = request.cookies.get(self._name, "")
        return found if len(found) == 43 else random_token()  # the length of `random_token`

    def remember(self, response: Response, secret: str) -> None:
        """Set the cookie. Lax, because the provider's redirect comes from another site."""
        response.set_cookie(
            self._name, secret, max_age=self._lives, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def mark(self, secret: str) -> str:
        """What is stored to recognize the browser by."""
        return self._ring.mac("browser", secret)

    def require(self, request: Request, mark: str) -> str:
        """The browser's secret, if it is the one that `mark` was made for."""
        secret = request.cookies.get(self._name, "")
        if not secret or not self._ring.matches("browser", secret, mark):
            raise PageRefusal(*STRANGER)
        return secret

    def csrf(self, secret: str, transaction: str) -> str:
        """The token a form of this transaction must carry."""
        return self._ring.mac("csrf", f"{secret}\0{transaction}")

    def require_own_form(self, request: Request, secret: str, transaction: str, token: str) -> None:
        """Refuse a form that was not made for this browser and transaction, or was posted from another origin."""
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != self._origin:
            raise PageRefusal("That form came from another site", "Start again from your application.", 403)
        if not self._ring.matches("csrf", f"{secret}\0{transaction}", token):
            raise PageRefusal("That form has expired", "Start again from your application.", 403)
