"""`GET /upstream/callback`: the identity provider sends the person back, and the client gets its code."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from auth_server.authorization import scope_policy, subjects
from auth_server.endpoints.consent import LOGIN
from auth_server.errors import PageRefusal, Refusal, SignInRefused
from auth_server.http.redirect import answer, asking_again, refused, see
from auth_server.models import Grant, Identity, Pending
from auth_server.pages.browser import Browser
from auth_server.pages.sessions import Sessions
from auth_server.pages.sign_in_errors import REFUSED, noted, sign_in_trouble
from auth_server.params import parse
from auth_server.shared import Shared
from switchboard.errors import AuthorizationUnavailable

STALE = ("This sign-in is over", "It was used already or took too long. Start again from your application.")


class Callback:
    """Ends the login. Its state is used once, by the browser that gave the consent."""

    def __init__(self, shared: Shared, browser: Browser, sessions: Sessions) -> None:
        self._shared = shared
        self._browser = browser
        self._sessions = sessions

    async def __call__(self, request: Request) -> Response:
        params = parse(request.url.query).refuse_repeated()
        state = params.get("state")
        login = await self._shared.records.read(LOGIN, state) if state else None
        if login is None:
            raise PageRefusal(*STALE)
        # Looked at before it is taken: a callback forged into another browser must not use up the real one's state.
        self._browser.require(request, login["browser"])
        if await self._shared.records.take(LOGIN, state) is None:
            raise PageRefusal(*STALE)
        if login["pending"] is None:
            return await self._begin_session(params.values, login["kept"])
        return await self._finish(Pending(**login["pending"]), params.values, login["kept"])

    async def _begin_session(self, params: dict[str, str], kept: dict[str, Any]) -> Response:
        """The person came to look after their grants; no client is waiting."""
        grants = f"{self._shared.settings.base}/grants"
        try:
            identity = await self._person(params, kept)
        except SignInRefused as refusal:
            reference = noted("sign-in.refused", str(refusal))
            message = f"{REFUSED.get(refusal.code, refusal.code)}."
            raise PageRefusal("You are not signed in", message, again=grants, reference=reference) from refusal
        except AuthorizationUnavailable as error:
            raise sign_in_trouble(error, grants) from error
        await self._shared.limits.person(identity.subject)
        response = see(grants)
        await self._sessions.begin(response, identity)
        return response

    async def _person(self, params: dict[str, str], kept: dict[str, Any]) -> Identity:
        """The person who signed in, if their subject can be used here."""
        identity = await self._shared.upstream.finish(params, kept)
        try:
            subjects.of_person(identity.subject, self._shared.settings.trusted_issuers)
        except subjects.InvalidSubject as error:
            raise SignInRefused("server_error", str(error)) from error
        return identity

    async def _finish(self, pending: Pending, params: dict[str, str], kept: dict[str, Any]) -> Response:
        issuer = self._shared.settings.issuer
        try:
            identity = await self._person(params, kept)
        except SignInRefused as refusal:
            reference = noted("sign-in.refused", str(refusal), client=pending.client_id)
            await self._shared.audit.record(
                "login.refused", client=pending.client_id, error=refusal.code, reason=str(refusal), reference=reference
            )
            text = REFUSED.get(refusal.code, REFUSED["server_error"])
            told = Refusal(refusal.code, f"{text} (the server's log says why, at the reference {reference})")
            return refused(pending.redirect_uri, issuer, pending.state, told)
        except AuthorizationUnavailable as error:
            raise sign_in_trouble(error, asking_again(self._shared.settings, pending), pending.client_id) from error
        await self._shared.limits.person(identity.subject)
        scope = scope_policy.allowed(pending.scope, identity, self._shared.settings.admins)
        if not scope:
            return refused(
                pending.redirect_uri, issuer, pending.state, Refusal("access_denied", "nothing of it may be granted")
            )
        if identity.id_token:
            await self._shared.keep_id_token(identity.subject, identity.id_token)
        client = await self._shared.clients.find(pending.client_id)
        name = (client.name if client else "") or "An application without a name"
        code = await self._shared.families.open(self._grant(pending, identity, scope), name)
        await self._shared.clients.used(pending.client_id)
        await self._shared.audit.record(
            "authorization.granted", subject=identity.subject, client=pending.client_id, scope=scope
        )
        return answer(pending.redirect_uri, issuer, pending.state, code=code)

    def _grant(self, pending: Pending, identity: Identity, scope: str) -> Grant:
        return Grant(
            subject=identity.subject,
            client_id=pending.client_id,
            scope=scope,
            resource=pending.resource,
            created=self._shared.clock(),
            redirect_uri=pending.redirect_uri,
            challenge=pending.challenge,
            upstream=identity.kept,
            aliases=identity.aliases,
        )
