"""`/grants`: what a person allowed, and taking it back."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from auth_server.endpoints.consent import LOGIN
from auth_server.http.redirect import see
from auth_server.pages.browser import Browser
from auth_server.pages.sessions import Session, Sessions
from auth_server.pages.sign_in_errors import sign_in_trouble
from auth_server.params import form
from auth_server.scopes import SCOPE_TEXTS
from auth_server.shared import Shared
from switchboard.common.sealing import random_token
from switchboard.errors import AuthorizationUnavailable

PATH = "/grants"
_FORM = "grants"
_MAX_SHOWN = 200


class GrantsPage:
    """Shows the signed-in person's authorizations; signs people in who are not."""

    def __init__(self, shared: Shared, browser: Browser, sessions: Sessions) -> None:
        self._shared = shared
        self._browser = browser
        self._sessions = sessions

    async def __call__(self, request: Request) -> Response:
        session = await self._sessions.find(request)
        if session is None:
            return await self._sign_in(request)
        await self._shared.limits.person(session.subject)
        return await (self._act(request, session) if request.method == "POST" else self._show(session))

    async def _sign_in(self, request: Request) -> Response:
        secret, state = self._browser.known(request), random_token()
        try:
            departure = await self._shared.upstream.begin(state)
        except AuthorizationUnavailable as error:
            raise sign_in_trouble(error, f"{self._shared.settings.base}{PATH}") from error
        kept = {"browser": self._browser.mark(secret), "kept": departure.kept, "pending": None}
        await self._shared.records.put(LOGIN, kept, self._shared.settings.lifetimes.pending, token=state)
        response = see(departure.url)
        self._browser.remember(response, secret)
        return response

    async def _show(self, session: Session) -> Response:
        return self._shared.pages.show(
            "grants.html",
            subject=session.subject,
            grants=[_shown(family, about) for family, about in await self._theirs(session)],
            action=f"{urlsplit(self._shared.settings.base).path}{PATH}",
            csrf=self._browser.csrf(session.secret, _FORM),
        )

    async def _theirs(self, session: Session) -> list[tuple[str, dict[str, Any]]]:
        families = await self._shared.revocation.families("user", session.subject)
        found = [(family, await self._shared.families.about(family)) for family in families[-_MAX_SHOWN:]]
        return [(family, about) for family, about in reversed(found) if about is not None]

    async def _act(self, request: Request, session: Session) -> Response:
        params = (await form(request)).refuse_repeated()
        self._browser.require_own_form(request, session.secret, _FORM, params.get("csrf"))
        response = see(f"{self._shared.settings.base}{PATH}")
        if params.get("decision") == "sign-out":
            goodbye = self._shared.pages.show("goodbye.html")
            await self._sessions.end(goodbye, session)
            return goodbye
        await self._revoke(session, params.get("family"))
        return response

    async def _revoke(self, session: Session, family: str) -> None:
        # Only one's own: a family's name is no secret.
        if family and family in await self._shared.revocation.families("user", session.subject):
            await self._shared.families.revoke(family)
            await self._shared.audit.record("grant.withdrawn", subject=session.subject, family=family)


def _shown(family: str, about: dict[str, Any]) -> dict[str, Any]:
    day = datetime.datetime.fromtimestamp(about["created"], datetime.UTC)
    return {
        "family": family,
        "client": about["client"],
        "scopes": [SCOPE_TEXTS.get(scope, (scope, ""))[0] for scope in about["scope"].split()],
        "resource": about["resource"],
        "day": f"{day:%-d %B %Y}",
        "date": f"{day:%Y-%m-%d}",
    }
