"""`/connections`: what the signed-in person has at each backend and plugin, and the page to connect one.

A person may come from a link that a call handed out (`connect_links`). Then the page sees that it is the same person:
anybody else gets 403, and nothing is bound to anybody.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from switchboard.account.browser import here, own_form, see, single
from switchboard.account.connect_links import CONNECT_PATH, LINK, ConnectLinks, connect_path
from switchboard.account.errors import PageError
from switchboard.account.oauth_connect import OAuthConnect
from switchboard.account.personal import Account, FieldErrors, PersonalAccounts
from switchboard.account.sessions import Session, shown_name
from switchboard.account.sign_in import HOME, SignIn
from switchboard.common.pages.renderer import Pages
from switchboard.outbound_auth.connectables import Connectable

CONNECTED_PATH: Final = "/connections/connected"
SIGN_OUT_PATH: Final = "/account/sign-out"
FIELD: Final = "field-"
"""What the name of a typed field begins with in a form."""

_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "connected": ("Connected", "good"),
    "expired": ("Expired", "bad"),
    "reconnect": ("Needs reconnecting", "bad"),
    "not_connected": ("Not connected", "plain"),
}
"""What the page says of a state, and how it looks."""

_LINK_OVER: Final = (
    "This link is over",
    "It is good for a quarter of an hour. Make the call again to get another, or connect from your connections.",
)
_UNKNOWN: Final = ("There is nothing of that name to connect", "It may have been removed or renamed here.", 404)


class ConnectionsPage:
    """The pages, and what their forms do."""

    def __init__(
        self,
        sign_in: SignIn,
        accounts: PersonalAccounts,
        oauth: OAuthConnect,
        links: ConnectLinks,
        pages: Pages,
        base_uri: str,
    ) -> None:
        self._sign_in = sign_in
        self._accounts = accounts
        self._oauth = oauth
        self._links = links
        self._pages = pages
        self._base, self._path = base_uri, urlsplit(base_uri).path

    async def overview(self, request: Request) -> Response:
        """`GET /connections`."""
        session = await self._sign_in.sessions.find(request)
        if session is None:
            return await self._sign_in.begin(request, here(request))
        found = [_shown(each) for each in await self._accounts.all(session.person)]
        return self._show("connections.html", session, accounts=found)

    async def page(self, request: Request) -> Response:
        """`GET /connections/connect/{id}`."""
        connectable = self._connectable(request)
        params = single(request)
        is_for = self._links.read(params[LINK], connectable.id) if LINK in params else None
        if LINK in params and is_for is None:
            raise PageError(*_LINK_OVER, again=self._path + HOME)
        session = await self._sign_in.sessions.find(request)
        if session is None:
            return await self._sign_in.begin(request, here(request))
        if is_for is not None and not is_for(session.person):
            return self._show("wrong_person.html", session, 403, name=connectable.name)
        return await self._connect_page(session, connectable)

    async def act(self, request: Request) -> Response:
        """`POST /connections/connect/{id}`: connect, store what was typed, or disconnect."""
        connectable, session = self._connectable(request), await self._signed_in(request)
        form = await own_form(request, session, self._base)
        decision = form.get("decision")
        if decision == "disconnect":
            left = await self._accounts.take_back(session.person, connectable)
            return self._show("disconnected.html", session, name=connectable.name, left=left)
        if decision == "connect":
            return await self._oauth.begin(session, connectable)
        typed = {name.removeprefix(FIELD): text for name, text in form.items() if name.startswith(FIELD)}
        try:
            await self._accounts.store(session.person, connectable, typed)
        except FieldErrors as wrong:
            return await self._connect_page(session, connectable, wrong.errors)
        return see(f"{self._base}{CONNECTED_PATH}/{connect_path(connectable.id).rpartition('/')[2]}")

    async def done(self, request: Request) -> Response:
        """`GET /connections/connected/{id}`: how it went."""
        connectable = self._connectable(request)
        session = await self._sign_in.sessions.find(request)
        if session is None:
            return await self._sign_in.begin(request, here(request))
        account = await self._accounts.of(session.person, connectable)
        if account.state != "connected":
            return see(self._base + connect_path(connectable.id))
        return self._show("connected.html", session, account=_shown(account))

    async def sign_out(self, request: Request) -> Response:
        """`POST /account/sign-out`."""
        session = await self._signed_in(request)
        await own_form(request, session, self._base)
        response = self._pages.show("signed_out.html", home=self._path + HOME)
        await self._sign_in.end(session, response)
        return response

    async def _signed_in(self, request: Request) -> Session:
        """Whose form it is; one that was sent after its session had ended is not kept meanwhile."""
        session = await self._sign_in.sessions.find(request)
        if session is None:
            again = request.url.path if request.url.path.startswith(self._path + CONNECT_PATH) else self._path + HOME
            raise PageError("You are not signed in any more", "Nothing was changed.", 403, again=again)
        return session

    def _connectable(self, request: Request) -> Connectable:
        found = self._accounts.connectables.find(request.path_params["id"])
        if found is None:
            raise PageError(*_UNKNOWN, again=self._path + HOME)
        return found

    async def _connect_page(
        self, session: Session, connectable: Connectable, errors: Mapping[str, str] | None = None
    ) -> Response:
        account = await self._accounts.of(session.person, connectable)
        return self._show("connect.html", session, 400 if errors else 200, account=_shown(account), errors=errors or {})

    def _show(self, template: str, session: Session, status: int = 200, **values: Any) -> Response:
        return self._pages.show(
            template,
            status,
            **values,
            who=shown_name(session.principal),
            csrf=session.csrf,
            home=self._path + HOME,
            connect=self._path + CONNECT_PATH,
            sign_out=self._path + SIGN_OUT_PATH,
        )


def _shown(account: Account) -> dict[str, Any]:
    it = account.connectable
    until = datetime.datetime.fromtimestamp(account.expires_at, datetime.UTC) if account.expires_at else None
    said, look = _STATES[account.state]
    return {
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "state": account.state,
        "said": said,
        "look": look,
        "oauth": it.accounts is not None,
        "scopes": account.scopes or it.scopes,
        "until": f"{until:%-d %B %Y, %H:%M} UTC" if until else "",
        "until_iso": until.isoformat() if until else "",
        "reason": account.reason,
        "anything": account.anything,
        "fields": [
            {"input": FIELD + each.name, "stored": each.name in account.stored, "it": each} for each in it.fields
        ],
    }
