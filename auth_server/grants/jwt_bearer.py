"""Identity assertions of a company's own provider (RFC 7523 §2.1 with the ID-JAG profile): enterprise-managed access.

The provider has signed the person in and decided that this client may act for them at this server; so there is no
consent here. https://datatracker.ietf.org/doc/draft-ietf-oauth-identity-assertion-authz-grant/
"""

from __future__ import annotations

from typing import Any

from auth_server.authorization import resource_indicators, scope_policy, subjects
from auth_server.crypto import new_family
from auth_server.errors import Refusal
from auth_server.grants.base import TokenRequest
from auth_server.models import Client, Grant, Identity
from auth_server.settings import OidcSettings, TrustedIssuer
from auth_server.shared import Shared
from switchboard.common.jose import InvalidJwt, Jwt, peek

TYPE = "oauth-id-jag+jwt"
INVALID = "the assertion is not valid"
BOUND = "the assertion is bound to a key (cnf), which this server does not check; send one without"


class JwtBearer:
    """An ID-JAG to an access token; the provider is asked again for the next one, so there is no refresh token."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._issuers = {trusted.issuer: trusted for trusted in shared.settings.trusted_issuers}

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        client, params = request.client, request.params
        if not (client.trusted and client.confidential):
            raise Refusal("unauthorized_client", "this grant is for clients that the server knows by its settings")
        trusted, found = await self._verified(params.require("assertion"), client)
        grant = self._grant(trusted, found, client, params.get("scope"), params.resources)
        issued = await self._shared.issuer.issue(new_family(), grant, grant.scope, refreshable=False)
        if not await self._shared.access.issue(issued):
            raise Refusal("invalid_grant", "revoked just now")
        await self._shared.audit.record(
            "tokens.issued", subject=grant.subject, client=client.id, family=issued.family, scope=grant.scope
        )
        return issued.response

    async def _verified(self, assertion: str, client: Client) -> tuple[TrustedIssuer, Jwt]:
        try:
            said = peek(assertion)
        except InvalidJwt as error:
            raise Refusal("invalid_grant", INVALID) from error
        trusted = self._issuers.get(str(said.claims.get("iss")))
        if trusted is None or said.header.get("typ") != TYPE or said.claims.get("client_id") != client.id:
            raise Refusal("invalid_grant", INVALID)
        audiences = (self._shared.settings.issuer,)
        found = await self._shared.assertions.by_issuer(assertion, trusted.jwks_uri, audiences, trusted.issuer)
        if found is None:
            raise Refusal("invalid_grant", INVALID)
        if found.claims.get("cnf") is not None:
            raise Refusal("invalid_grant", BOUND)
        return trusted, found

    def _grant(
        self, trusted: TrustedIssuer, found: Jwt, client: Client, scope: str, resources: tuple[str, ...]
    ) -> Grant:
        settings, named = self._shared.settings, found.claims.get("resource")
        try:
            subject = subjects.of_asserted(found.claims.get("sub"), trusted, settings.trusted_issuers)
        except subjects.InvalidSubject as error:
            raise Refusal("invalid_grant", INVALID) from error
        if not isinstance(named, str):
            raise Refusal("invalid_grant", INVALID)
        resource = resource_indicators.resource((named,), settings.resources)
        if resources:
            resource_indicators.resource(resources, [resource])
        held = self._held(trusted, found, client, subject)
        return Grant(
            subject=subject,
            client_id=client.id,
            scope=scope_policy.granted(scope, held, " ".join(held), settings.scopes),
            resource=resource,
            created=self._shared.clock(),
        )

    def _held(self, trusted: TrustedIssuer, found: Jwt, client: Client, subject: str) -> list[str]:
        """What the provider, the client's settings and the person's own rights all allow.

        A provider that says nothing about scopes allows what a client gets that asks for nothing; one that says it in
        another shape than the profile's is not guessed at.
        """
        settings = self._shared.settings
        said = found.claims.get("scope", " ".join(settings.default_scopes))
        if not isinstance(said, str):
            raise Refusal("invalid_grant", INVALID)
        both = " ".join(item for item in client.scope.split() if item in said.split())
        upstream = settings.upstream
        groups = upstream.allowed(found.claims) if isinstance(upstream, OidcSettings) and trusted.same_people else None
        return scope_policy.allowed(both, Identity(subject, scopes=groups), settings.admins).split()
