"""Redeeming a code (RFC 6749 §4.1.3, RFC 7636 §4.6): once, by the client and for the verifier it was made for."""

from __future__ import annotations

from typing import Any

from auth_server.authorization import resource_indicators
from auth_server.crypto import pkce_proves
from auth_server.errors import Refusal
from auth_server.grants.base import TokenRequest
from auth_server.models import REFRESH_TOKEN, Client, Grant
from auth_server.params import Params
from auth_server.shared import Shared
from auth_server.store.families import PresentedToken

INVALID = "the code is not valid"


class AuthorizationCode:
    """Codes to tokens."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        params, client = request.params, request.client
        found = await self._shared.families.find_code(params.require("code"))
        if found is None:
            raise Refusal("invalid_grant", INVALID)
        if found.grant is None:
            await self._replayed(found, client)
            raise Refusal("invalid_grant", INVALID)
        grant = found.grant
        _check(grant, client, params)
        if params.resources:
            resource_indicators.resource(params.resources, [grant.resource])
        if not await self._shared.revocation.stands(grant.who, grant.cuts):
            raise Refusal("invalid_grant", INVALID)
        return await self._redeem(found, grant, client)

    async def _redeem(self, found: PresentedToken, grant: Grant, client: Client) -> dict[str, Any]:
        refreshable = REFRESH_TOKEN in client.grant_types
        issued = await self._shared.issuer.issue(found.family, grant, grant.scope, refreshable=refreshable)
        if not await self._shared.families.redeem(found, issued):
            await self._replayed(found, client)
            raise Refusal("invalid_grant", INVALID)
        await self._shared.audit.record(
            "tokens.issued", subject=grant.subject, client=client.id, family=found.family, scope=grant.scope
        )
        return issued.response

    async def _replayed(self, found: PresentedToken, client: Client) -> None:
        # RFC 6749 §4.1.2: a code seen twice has leaked; what it led to ends, the first redeemer's tokens too.
        await self._shared.families.revoke(found.family)
        await self._shared.audit.record("code.replayed", client=client.id, family=found.family)


def _check(grant: Grant, client: Client, params: Params) -> None:
    if grant.client_id != client.id:
        raise Refusal("invalid_grant", INVALID)
    # OAuth 2.1 dropped redirect_uri from this request; when it is sent it has to be the same string.
    sent = params.get("redirect_uri")
    if sent and sent != grant.redirect_uri:
        raise Refusal("invalid_grant", "redirect_uri differs from the one that was authorized")
    if not pkce_proves(params.require("code_verifier"), grant.challenge):
        raise Refusal("invalid_grant", "code_verifier does not match the challenge")
