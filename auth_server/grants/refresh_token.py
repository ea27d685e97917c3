"""Refreshing with rotation (RFC 9700 §4.14.2): every use gives a new refresh token and ends the old one.

Callers that race, or whose answer got lost, present the old token again within the grace and get the same successor.
Later than that it is a replay, and the family ends.
"""

from __future__ import annotations

from typing import Any

from auth_server.authorization import resource_indicators, scope_policy
from auth_server.errors import Refusal
from auth_server.grants.base import TokenRequest
from auth_server.models import Client, Grant
from auth_server.params import Params
from auth_server.shared import Shared
from auth_server.store.families import PresentedToken

INVALID = "the refresh token is not valid"


class RefreshToken:
    """Refresh tokens to their successors."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        token = request.params.require("refresh_token")
        found = await self._shared.families.find_refresh(token)
        if found is None:
            raise Refusal("invalid_grant", INVALID)
        if found.grant is None:
            await self._replayed(found, request.client)
            raise Refusal("invalid_grant", INVALID)
        scope = await self._checked(found.grant, request.client, request.params)
        if found.successor is None:
            found = await self._shared.renewal.renewed(found, token)
        if found.successor is None:
            found = await self._rotate(found, token, scope, request.client)
        return await self._answer(found, request.params.get("scope") and scope)

    async def _checked(self, grant: Grant, client: Client, params: Params) -> str:
        if grant.client_id != client.id:
            raise Refusal("invalid_grant", INVALID)
        if params.resources:
            resource_indicators.resource(params.resources, [grant.resource])
        if not await self._shared.revocation.stands(grant.who, grant.cuts):
            raise Refusal("invalid_grant", INVALID)
        settings = self._shared.settings
        held = scope_policy.held(grant, groups_decide=settings.groups_decide, admins=settings.admins)
        return scope_policy.granted(params.get("scope"), held, " ".join(held), settings.scopes)

    async def _rotate(self, found: PresentedToken, token: str, scope: str, client: Client) -> PresentedToken:
        grant = found.live_grant
        # The identity provider may allow less than it did.
        scope = " ".join(item for item in scope.split() if item in grant.scopes())
        issued = await self._shared.issuer.issue(found.family, grant, scope, refreshable=True)
        rotated = await self._shared.families.rotate(found, token, issued)
        await self._shared.renewal.finished(found)
        if rotated is None:
            await self._replayed(found, client)
            raise Refusal("invalid_grant", INVALID)
        if rotated.status == "live":
            await self._shared.audit.record(
                "tokens.refreshed", subject=grant.subject, client=client.id, family=found.family, scope=scope
            )
        return rotated

    async def _answer(self, found: PresentedToken, asked: str) -> dict[str, Any]:
        if found.successor is None:
            raise ValueError("a rotated token has a successor")
        response = dict(found.successor)
        passed = int(self._shared.clock() - response.pop("at"))
        response |= {"expires_in": max(1, response["expires_in"] - passed)}
        if asked and found.status == "graced":
            return response | await self._other_scope(found, asked, response["scope"])
        return response

    async def _other_scope(self, found: PresentedToken, asked: str, given: str) -> dict[str, Any]:
        """An access token of its own for a caller that asks for other scopes than the one whose successor it shares."""
        grant = found.live_grant
        scope = " ".join(item for item in asked.split() if item in grant.scopes())
        if set(scope.split()) == set(given.split()):
            return {}
        if not scope:
            raise Refusal("invalid_scope", "there is no scope that could be granted")
        issued = await self._shared.issuer.issue(found.family, grant, scope, refreshable=False)
        if not await self._shared.access.attach(issued):
            raise Refusal("invalid_grant", INVALID)
        return issued.response

    async def _replayed(self, found: PresentedToken, client: Client) -> None:
        await self._shared.families.revoke(found.family)
        await self._shared.audit.record("refresh_token.replayed", client=client.id, family=found.family)
