"""Token exchange (RFC 8693): a gateway swaps a user's token for one that is meant for another resource.

The new token belongs to the family of the one it was made from, lives no longer, allows no more, and dies with it.
"""

from __future__ import annotations

from typing import Any

from auth_server.authorization import resource_indicators, scope_policy
from auth_server.errors import Refusal
from auth_server.grants.base import TokenRequest
from auth_server.models import Client, Grant
from auth_server.params import Params
from auth_server.scopes import PARTS
from auth_server.shared import Shared

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name


class TokenExchange:
    """Access tokens to narrower access tokens; for trusted clients only."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        client, params = request.client, request.params
        if not (client.trusted and client.confidential):
            raise Refusal("unauthorized_client", "this grant is for clients that the server knows by its settings")
        _check_types(params)
        found = await self._shared.access.find(params.require("subject_token"))
        if found is None:
            raise Refusal("invalid_request", "the subject token is not valid")  # RFC 8693 §2.2.2
        family, claims = found.family, found.claims
        grant = self._grant(client, params, claims)
        issued = await self._shared.issuer.issue(
            family, grant, grant.scope, refreshable=False, until=claims["exp"], actor=_actor(client, claims)
        )
        if not await self._shared.access.attach(issued, _actors(issued.claims)):
            raise Refusal("invalid_request", "the subject token is not valid")
        await self._shared.audit.record(
            "token.exchanged", subject=grant.subject, client=client.id, family=family, resource=grant.resource
        )
        return issued.response | {"issued_token_type": ACCESS_TOKEN}

    def _grant(self, client: Client, params: Params, claims: dict[str, Any]) -> Grant:
        held = claims["scope"].split()
        held += [part for scope in held for part in PARTS.get(scope, ()) if part not in held]
        known = (*self._shared.exchanged_for(client.id), *self._shared.settings.resources)
        return Grant(
            subject=claims["sub"],
            client_id=client.id,
            scope=scope_policy.granted(params.get("scope"), held, claims["scope"], self._shared.settings.scopes),
            resource=resource_indicators.resource(_target(params), known),
            created=self._shared.clock(),
        )


def _check_types(params: Params) -> None:
    if params.require("subject_token_type") != ACCESS_TOKEN:
        raise Refusal("invalid_request", "subject_token_type must be an access token")
    if params.get("requested_token_type") not in ("", ACCESS_TOKEN):
        raise Refusal("invalid_request", "requested_token_type must be an access token")
    if params.get("actor_token"):
        raise Refusal("invalid_request", "actor_token is not supported: the client is the actor")


def _target(params: Params) -> tuple[str, ...]:
    """`resource`, or `audience` when the caller speaks that dialect; one of them has to be there."""
    named = params.resources or ((params.get("audience"),) if params.get("audience") else ())
    if not named:
        raise Refusal("invalid_target", "name the resource that the token is for")
    return named


def _actors(claims: dict[str, Any]) -> tuple[str, ...]:
    """The clients that have a part in an exchanged token: revoking one of them ends it."""
    act = claims.get("act")
    return (act["sub"], *_actors(act)) if act else ()


def _actor(client: Client, claims: dict[str, Any]) -> dict[str, Any]:
    """Who acts, and for whom that one acted already (RFC 8693 §4.1)."""
    earlier = {"act": claims["act"]} if "act" in claims else {}
    return {"sub": client.id, **earlier}
