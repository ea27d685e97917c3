"""`POST /consent`: what the person decided. Only an approval starts the login.

The order is the defence against the confused deputy: a live session at the identity provider can never stand in
for consent, because the login's state does not exist before it.
"""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from auth_server.clients.redirect_uris import display, split
from auth_server.errors import PageRefusal, Refusal
from auth_server.http.redirect import asking_again, refused, see
from auth_server.models import Client, Pending
from auth_server.pages.browser import Browser
from auth_server.pages.sign_in_errors import sign_in_trouble
from auth_server.params import form
from auth_server.scopes import SCOPE_TEXTS
from auth_server.shared import Shared
from switchboard.common.hosts import is_loopback
from switchboard.common.sealing import random_token
from switchboard.errors import AuthorizationUnavailable

TRANSACTION = "pending"
LOGIN = "login"

USED = (
    "This page was used already",
    "It is good for one decision within ten minutes. Start again from your application.",
)


class Consent:
    """Takes the decision, once, from the browser it was asked in."""

    def __init__(self, shared: Shared, browser: Browser) -> None:
        self._shared = shared
        self._browser = browser

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        transaction = params.get("transaction")
        found = await self._shared.records.read(TRANSACTION, transaction) if transaction else None
        if found is None:
            raise PageRefusal(*USED)
        pending = Pending(**found)
        secret = self._browser.require(request, pending.browser)
        self._browser.require_own_form(request, secret, transaction, params.get("csrf"))
        if await self._shared.records.take(TRANSACTION, transaction) is None:
            raise PageRefusal(*USED)
        if params.get("decision") != "allow":
            return await self._denied(pending)
        return await self._leave(pending)

    async def _denied(self, pending: Pending) -> Response:
        await self._shared.audit.record("consent.denied", client=pending.client_id, scope=pending.scope)
        refusal = Refusal("access_denied", "the person did not allow it")
        return refused(pending.redirect_uri, self._shared.settings.issuer, pending.state, refusal)

    async def _leave(self, pending: Pending) -> Response:
        state = random_token()
        try:
            departure = await self._shared.upstream.begin(state)
        except AuthorizationUnavailable as error:
            raise sign_in_trouble(error, asking_again(self._shared.settings, pending), pending.client_id) from error
        kept = {"browser": pending.browser, "kept": departure.kept, "pending": asdict(pending)}
        await self._shared.records.put(LOGIN, kept, self._shared.settings.lifetimes.pending, token=state)
        await self._shared.audit.record("consent.given", client=pending.client_id, scope=pending.scope)
        return see(departure.url)


def consent_page(shared: Shared, client: Client, pending: Pending, transaction: str, csrf: str) -> Response:
    """The page that says who asks for what, and where the answer goes."""
    parts = split(pending.redirect_uri)
    web = parts is not None and parts.scheme in ("http", "https")
    return shared.pages.show(
        "consent.html",
        action=f"{urlsplit(shared.settings.base).path}/consent",
        client=client.name or "An application without a name",
        site=urlsplit(client.uri).hostname or "",
        proven=client.uri == client.id,
        redirect=display(pending.redirect_uri),
        destination="app" if not web else "local" if parts and is_loopback(parts.host) else "web",
        scopes=[SCOPE_TEXTS.get(scope, (scope, "")) for scope in pending.scope.split()],
        resource=pending.resource,
        grants=f"{shared.settings.base}/grants",
        transaction=transaction,
        csrf=csrf,
    )
