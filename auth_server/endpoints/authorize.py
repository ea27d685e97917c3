"""`/authorize`: verifies the client and its redirect URI, then the steps of `authorization.request`, then asks consent.

Until the client and its redirect URI are known errors are pages; after that they go back to the client
(RFC 6749 §4.1.2.1), by themselves only if an operator chose where, or if it is a program on the person's own computer.
Any other address may be a stranger's: before consent this server redirects nobody there (RFC 9700 §4.11.2), since an
attacker could use its name. The page says where the application is, and has a link.
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from auth_server.authorization.request import AuthorizationRequest, checked, echoed_state
from auth_server.clients.redirect_uris import is_loopback_http, matches, problem
from auth_server.endpoints.consent import TRANSACTION, consent_page
from auth_server.errors import PageRefusal, Refusal
from auth_server.http.redirect import refused, refused_at
from auth_server.models import Client, Pending
from auth_server.pages.browser import Browser
from auth_server.params import Params, form, parse
from auth_server.shared import Shared

AMBIGUOUS = ("That link is not right", "It names its application more than once.")
UNKNOWN = (
    "This application is not known here",
    "Its registration may have expired. Remove the connection in the application and add it again.",
)
ELSEWHERE = (
    "We cannot send you back to this application",
    "The address it asked to return to is not one it registered. You have not been signed in.",
)


class Authorize:
    """Checks the request and shows the consent page. Nobody is signed in yet: consent comes first."""

    def __init__(self, shared: Shared, browser: Browser) -> None:
        self._shared = shared
        self._browser = browser

    async def __call__(self, request: Request) -> Response:
        params = await form(request) if request.method == "POST" else parse(request.url.query)
        asked = await self._verified(request, params)
        secret = self._browser.known(request)
        try:
            pending = checked(asked, self._browser.mark(secret), self._shared.clock())
        except Refusal as refusal:
            await self._note(asked.client.id, refusal.code)
            return self._refused(asked, refusal)
        return await self._ask(asked.client, pending, secret)

    async def _verified(self, request: Request, params: Params) -> AuthorizationRequest:
        if {"client_id", "redirect_uri"} & params.repeated:
            raise PageRefusal(*AMBIGUOUS)
        client_id, redirect_uri = params.get("client_id"), params.get("redirect_uri")
        client = await self._shared.clients.find(client_id) if client_id else None
        if client is None:
            await self._note(client_id, "unknown client")
            raise PageRefusal(*UNKNOWN)
        await self._shared.limits.named(client, request)
        if not redirect_uri and len(client.redirect_uris) == 1:
            redirect_uri = client.redirect_uris[0]
        # What was registered under an older rule does not count any more.
        allowed = client.trusted or problem(redirect_uri) is None
        if not allowed or not matches(redirect_uri, client.redirect_uris):
            await self._note(client.id, "redirect mismatch")
            raise PageRefusal(*ELSEWHERE)
        await self._shared.clients.keep(client)
        return AuthorizationRequest(client, redirect_uri, params, self._shared.settings)

    def _refused(self, asked: AuthorizationRequest, refusal: Refusal) -> Response:
        about = (asked.redirect_uri, self._shared.settings.issuer, echoed_state(asked.params), refusal)
        if asked.client.trusted or is_loopback_http(asked.redirect_uri):
            return refused(*about)
        message = f"{refusal.description}. You have not been signed in."
        raise PageRefusal("The application's request does not work", message, onward=refused_at(*about))

    async def _ask(self, client: Client, pending: Pending, secret: str) -> Response:
        lives = self._shared.settings.lifetimes.pending
        transaction = await self._shared.records.put(TRANSACTION, asdict(pending), lives)
        csrf = self._browser.csrf(secret, transaction)
        response = consent_page(self._shared, client, pending, transaction, csrf)
        self._browser.remember(response, secret)
        return response

    async def _note(self, client_id: str, error: str) -> None:
        await self._shared.audit.record("authorization.refused", client=client_id, error=error)
