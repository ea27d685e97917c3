"""Signing in with a browser: this server is an OAuth client of the issuer whose tokens MCP clients have.

The authorization code grant with PKCE, for this server's own resource. What it must remember is in a signed cookie, one
for each sign-in, so whichever worker the person comes back to can finish it. Then the access token is verified like
that of any MCP client, and says who it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response

from switchboard.account.browser import client_address, origin, see, single
from switchboard.account.errors import PageError
from switchboard.account.issuer_client import IssuerClient
from switchboard.account.sessions import AnonymousSessions, IssuedSessions, Session, Sessions
from switchboard.account.signing import Cookie
from switchboard.errors import CredentialUnavailable

CALLBACK_PATH: Final = "/account/callback"
HOME: Final = "/connections"
"""Where people are sent when nothing else is known."""

SIGN_IN_S: Final = 600
"""How long a sign-in may take."""

_TRIED: Final = "cookie"
_OVER: Final = (
    "This sign-in is over",
    "It was used already, took longer than ten minutes, or began in another browser. You have not been signed in.",
)
_NOT_GOOD: Final = (
    "You cannot be signed in here",
    "The server where people sign in gave an access token that this server does not take. Whoever runs this server"
    " finds the reason in its log.",
    502,
)
_NO_COOKIES: Final = (
    "This page needs cookies",
    "Your browser did not bring back the cookie that it was given. Allow cookies for this site, and open the page"
    " again.",
)

log = structlog.get_logger("switchboard.account")


class SignIn(Protocol):
    """Signs people in and out. Two kinds: `IssuerSignIn`, and `NoSignIn` where nobody has a name."""

    @property
    def sessions(self) -> Sessions: ...

    async def begin(self, request: Request, back_to: str, scopes: Sequence[str] = ()) -> Response:
        """Send a browser on its way; afterwards it is at `back_to`, a path of this server.

        Args:
            scopes: to ask for besides the usual ones.

        Raises:
            PageError: that does not work now.
        """
        ...

    async def finish(self, request: Request) -> Response:
        """Take a browser back that the issuer sent here.

        Raises:
            PageError: the person is not signed in; the page says why, and what to do.
        """
        ...

    async def end(self, session: Session, response: Response) -> None:
        """Sign a person out in this browser."""
        ...


class IssuerSignIn:
    """Signs people in at an issuer. Satisfies `SignIn`.

    Args:
        cookie: for what is under way; signed for that alone.
        base_uri: of this server.
    """

    def __init__(self, issuer: IssuerClient, sessions: IssuedSessions, cookie: Cookie, base_uri: str) -> None:
        self.sessions = sessions
        self._issuer = issuer
        self._cookie = cookie
        self._base = base_uri
        self._origin, self._home = origin(base_uri), urlsplit(base_uri).path + HOME

    async def begin(self, request: Request, back_to: str, scopes: Sequence[str] = ()) -> Response:
        """See `SignIn`."""
        try:
            url, kept = await self._issuer.authorization(self._base + CALLBACK_PATH, scopes)
        except CredentialUnavailable as error:
            raise _not_signed_in(error, back_to) from error
        response = see(url)
        self._cookie.write(response, {"kept": kept, "to": back_to}, _suffix(kept["state"]))
        return response

    async def finish(self, request: Request) -> Response:
        """See `SignIn`."""
        params = single(request)
        suffix = _suffix(params.get("state", ""))
        said = self._cookie.read(request, suffix)
        if said is None or said["kept"]["state"] != params.get("state"):
            if await self.sessions.find(request):  # another window was faster
                return see(self._origin + self._home)
            raise PageError(*_OVER, again=self._home)
        try:
            tokens = await self._issuer.by_callback(params, said["kept"], client_address(request))
        except CredentialUnavailable as error:
            raise _not_signed_in(error, said["to"]) from error
        response = see(self._origin + said["to"])
        self._cookie.delete(response, suffix)
        if await self.sessions.begin(tokens, response) is None:
            log.warning("sign_in.token_refused", reason="the issuer's own token does not pass as one of an MCP client")
            raise PageError(*_NOT_GOOD, again=said["to"])
        return response

    async def end(self, session: Session, response: Response) -> None:
        """See `SignIn`; the tokens that the session had are revoked, too."""
        tokens = await self.sessions.tokens(session.secret)
        await self.sessions.end(session, response)
        try:
            if tokens is not None:
                await self._issuer.revoke(tokens)
        except CredentialUnavailable as error:  # signed out all the same: nobody has the tokens any more
            log.warning("sign_out.tokens_kept", reason=error.reason)


class NoSignIn:
    """Where `AUTH_MODE=none`: a browser only gets its cookie. Satisfies `SignIn`."""

    def __init__(self, sessions: AnonymousSessions, base_uri: str) -> None:
        self.sessions = sessions
        self._origin, self._home = origin(base_uri), urlsplit(base_uri).path + HOME

    async def begin(self, request: Request, back_to: str, scopes: Sequence[str] = ()) -> Response:
        """See `SignIn`."""
        if request.query_params.get(_TRIED):
            raise PageError(*_NO_COOKIES)
        response = see(f"{self._origin}{back_to}{'&' if '?' in back_to else '?'}{_TRIED}=1")
        self.sessions.begin(response)
        return response

    async def finish(self, request: Request) -> Response:
        """See `SignIn`: nobody was sent anywhere."""
        raise PageError(*_OVER, again=self._home)

    async def end(self, session: Session, response: Response) -> None:
        """See `SignIn`."""
        await self.sessions.end(session, response)


def _suffix(state: str) -> str:
    """Tells sign-ins of one browser apart."""
    return f"-{re.sub(r'[^A-Za-z0-9]', '', state)[:8]}"


def _not_signed_in(error: CredentialUnavailable, again: str) -> PageError:
    return PageError("You are not signed in", f"{error.reason.rstrip('.')}.", 503 if error.retry else 502, again=again)
