"""Machines that speak for themselves (RFC 6749 §4.4): only clients known by settings, and only with credentials."""

from __future__ import annotations

from typing import Any

from auth_server.authorization import resource_indicators, scope_policy, subjects
from auth_server.crypto import new_family
from auth_server.errors import Refusal
from auth_server.grants.base import TokenRequest
from auth_server.models import Grant
from auth_server.shared import Shared


class ClientCredentials:
    """Credentials to an access token, without a refresh token (§4.4.3)."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        client, params = request.client, request.params
        if not client.confidential:
            raise Refusal("unauthorized_client", "this grant is for clients that can authenticate")
        grant = Grant(
            subject=subjects.of_machine(client.id),
            client_id=client.id,
            scope=scope_policy.granted(
                params.get("scope"), client.scope.split(), client.scope, self._shared.settings.scopes
            ),
            resource=resource_indicators.resource(params.resources, self._shared.settings.resources),
            created=self._shared.clock(),
        )
        family = new_family()
        issued = await self._shared.issuer.issue(family, grant, grant.scope, refreshable=False)
        if not await self._shared.access.issue(issued):
            raise Refusal("invalid_grant", "revoked just now")
        await self._shared.audit.record("tokens.issued", client=client.id, family=family, scope=grant.scope)
        return issued.response
