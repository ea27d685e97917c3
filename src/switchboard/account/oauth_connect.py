"""Connecting by OAuth: to the provider of a backend or plugin, and back.

The state that travels is the key to a record in Redis, used once. The record names the person and the browser's
session, so nobody can have somebody else finish what they began, and any worker can finish what another one began.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response

from switchboard.account.browser import see, single
from switchboard.account.connect_links import connect_path
from switchboard.account.errors import Count, PageError
from switchboard.account.personal import PersonalAccounts
from switchboard.account.records import Records
from switchboard.account.sessions import Session
from switchboard.account.sign_in import HOME, SignIn
from switchboard.errors import CredentialUnavailable
from switchboard.outbound_auth.connectables import Accounts, Connectable

CALLBACK_PATH: Final = "/oauth/callback"
CONNECT_S: Final = 600
"""How long the way to the provider and back may take."""

_OVER: Final = (
    "This way to connect is over",
    "It was used already, or took longer than ten minutes. Nothing was connected by it.",
)
_SIGNED_OUT: Final = (
    "You are not signed in any more",
    "Nothing was connected. Sign in, and connect once more.",
    403,
)
_SOMEBODY_ELSE: Final = (
    "This was begun by somebody else",
    "Connecting ends in the browser window, and for the person, that it began for. Nothing was connected.",
    403,
)
_NO_OAUTH: Final = ("There is nothing of that name to connect", "It may have been removed or changed here.", 404)

log = structlog.get_logger("switchboard.account")


class OAuthConnect:
    """Sends people to providers, and takes them back.

    Args:
        count: counts each time; raises `RateLimited` when there were too many.
    """

    def __init__(
        self, sign_in: SignIn, accounts: PersonalAccounts, records: Records, count: Count, base_uri: str
    ) -> None:
        self._sign_in = sign_in
        self._accounts = accounts
        self._records = records
        self._count = count
        self._base, self._path = base_uri, urlsplit(base_uri).path

    async def begin(self, session: Session, connectable: Connectable) -> Response:
        """Send the person to the provider.

        Raises:
            PageError: it cannot be found out where that is.
        """
        await self._count(session.principal)
        accounts, again = self._provider(connectable), self._path + connect_path(connectable.id)
        try:
            url, kept = await accounts.begin(session.person, redirect_uri=self._back(connectable))
        except CredentialUnavailable as error:
            raise _not_connected(connectable, error, again) from error
        about = {"id": connectable.id, "person": session.person, "mark": session.mark, "kept": dict(kept)}
        await self._records.put("connect", str(kept["state"]), about, CONNECT_S)
        return see(url)

    async def initiate(self, request: Request) -> Response:
        """`GET /api/auth/oauth/initiate/{id}` of a browser: at once from our own pages, else by the page that asks."""
        connectable = self._connectable(request)
        session = await self._sign_in.sessions.find(request)
        # Another site's link must not make an account, however easily the provider agrees: the person is asked.
        if session is None or request.headers.get("sec-fetch-site") != "same-origin":
            return see(self._base + connect_path(connectable.id))
        return await self.begin(session, connectable)

    async def callback(self, request: Request) -> Response:
        """`GET /oauth/callback/{id}`: the provider sends the person back."""
        connectable, params = self._connectable(request), single(request)
        again = self._path + connect_path(connectable.id)
        state = params.get("state", "")
        about = await self._records.read("connect", state) if state else None
        if about is None or about["id"] != connectable.id:
            raise PageError(*_OVER, again=again)
        session = await self._sign_in.sessions.find(request)
        if session is None:
            raise PageError(*_SIGNED_OUT, again=again)
        # Looked at before it is taken: whoever else comes with it must not use up the person's own way.
        if (about["person"], about["mark"]) != (session.person, session.mark):
            log.warning("connect.refused", id=connectable.id, reason="another person or browser than it began with")
            raise PageError(*_SOMEBODY_ELSE, again=self._path + HOME)
        if await self._records.take("connect", state) is None:
            raise PageError(*_OVER, again=again)
        try:
            await self._provider(connectable).finish(session.person, params, about["kept"])
        except CredentialUnavailable as error:
            raise _not_connected(connectable, error, again) from error
        await self._accounts.connected(session.person, connectable)
        return see(f"{self._base}{HOME}/connected/{quote(connectable.id, safe='')}")

    def _back(self, connectable: Connectable) -> str:
        return f"{self._base}{CALLBACK_PATH}/{quote(connectable.id, safe='')}"

    def _connectable(self, request: Request) -> Connectable:
        found = self._accounts.connectables.find(request.path_params["id"])
        if found is None or found.accounts is None:
            raise PageError(*_NO_OAUTH, again=self._path + HOME)
        return found

    def _provider(self, connectable: Connectable) -> Accounts:
        if connectable.accounts is None:
            raise PageError(*_NO_OAUTH, again=self._path + HOME)
        return connectable.accounts


def _not_connected(connectable: Connectable, error: CredentialUnavailable, again: str) -> PageError:
    log.info("connect.failed", id=connectable.id, reason=error.reason)
    message = f"{error.reason.rstrip('.')}. Nothing was connected."
    return PageError(f"{connectable.name} is not connected", message, 503 if error.retry else 400, again=again)
