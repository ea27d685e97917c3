"""Tokens ended from outside: by their client, public ones too (RFC 7009), or by the identity provider's logout."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from auth_server.errors import Refusal
from auth_server.http.error_middleware import NO_STORE
from auth_server.models import Client
from auth_server.params import form
from auth_server.shared import Shared


class Revoke:
    """`POST /revoke`: 200 whatever the token was, so that nobody learns about tokens that are not theirs (§2.2)."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        client = await self._shared.authentication.client(request, params)
        await self._shared.limits.authenticated(client, request)
        token = params.require("token")
        # The hint is not needed: a token says itself what it is.
        if not await self._revoke_refresh(client, token):
            await self._revoke_access(client, token)
        return Response(status_code=200, headers=NO_STORE)

    async def _revoke_refresh(self, client: Client, token: str) -> bool:
        found = await self._shared.families.find_refresh(token)
        if found is None or found.grant is None or found.grant.client_id != client.id:
            return False
        await self._shared.families.revoke(found.family)
        await self._note(client, found.grant.subject, "refresh token")
        return True

    async def _revoke_access(self, client: Client, token: str) -> None:
        claims = await self._shared.access.claims(token)
        if claims is None or claims["client_id"] != client.id:
            return
        await self._shared.access.revoke(token)
        await self._note(client, claims["sub"], "access token")

    async def _note(self, client: Client, subject: str, what: str) -> None:
        await self._shared.audit.record("token.revoked", subject=subject, client=client.id, what=what)


class Logout:
    """`POST /upstream/logout` (OpenID Connect Back-Channel Logout 1.0): ends all that came of that login."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        alias = await self._shared.upstream.logged_out(params.require("logout_token"))
        if alias is None:
            raise Refusal("invalid_request", "the logout token is not valid")
        count = await self._shared.revocation.revoke("alias", alias)
        await self._shared.audit.record("user.logged_out", count=str(count))
        return Response(status_code=200, headers=NO_STORE)
