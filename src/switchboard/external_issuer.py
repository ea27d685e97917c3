"""An authorization server elsewhere: how its tokens are verified, as a table, and what it lacks for that.

Part of the composition root; `authorization.py` chooses it for `AUTH_MODE=separate`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import structlog

from switchboard.common.client_auth.by_secret import RESOURCE_SERVER, resource_server_secret
from switchboard.common.discovery import Discovery
from switchboard.errors import AuthorizationUnavailable, ConfigurationError
from switchboard.identity import (
    ClaimRules,
    IntrospectionRefused,
    IntrospectionVerifier,
    IssuerKeys,
    JwksVerifier,
    Principal,
    TokenVerifier,
    UnacceptableToken,
)
from switchboard.settings import Settings

TIMEOUT_S: Final = 5.0

events = structlog.get_logger("switchboard.authorization")


@dataclass(frozen=True)
class ExternalIssuer:
    """An authorization server elsewhere, and what is needed to verify its tokens."""

    url: str
    settings: Settings
    http: httpx2.AsyncClient
    discovery: Discovery
    clock: Callable[[], float] = time.time

    @property
    def rules(self) -> ClaimRules:
        """How its claims are read."""
        settings = self.settings
        said: dict[str, Any] = {
            "issuer": self.url,
            "audiences": settings.token_audiences or resources(settings),
            "subject": settings.subject_claim,
            "scopes": settings.scope_claims,
            "client": settings.client_claims,
            "required": settings.required_claims or {},
            "scope_map": settings.scope_map or {},
        }
        clients = frozenset(settings.token_clients)
        return ListedClients(**said, clients=clients) if clients else ClaimRules(**said)

    async def introspection(self) -> str:
        """Where to ask about a token."""
        return self.settings.introspection_url or await self.discovery.endpoint("introspection_endpoint")

    async def keys(self) -> str:
        """Where its public keys are."""
        return await self.discovery.endpoint("jwks_uri")

    async def metadata(self) -> Mapping[str, Any]:
        """Its own metadata, with what the settings add."""
        configured = self.settings.introspection_url
        added = {"introspection_endpoint": configured} if configured else {}
        return {**await self.discovery.metadata(), **added}


@dataclass(frozen=True, kw_only=True)
class ListedClients(ClaimRules):
    """Only the tokens of some clients count. Some issuers write no audience; then the client alone vouches for it.

    A token that does name an audience is held to it as ever.
    """

    clients: frozenset[str]

    def read(self, claims: Mapping[str, Any], now: float, skew: float = 0.0) -> Principal:
        """As the base class says."""
        named = claims if claims.get("aud") is not None else {**claims, "aud": next(iter(self.audiences))}
        found = ClaimRules.read(self, named, now, skew)
        if found.client_id not in self.clients:
            expected = f"one of {', '.join(sorted(self.clients))} (TOKEN_CLIENTS)"
            raise UnacceptableToken(" or ".join(self.client), expected, found.client_id or None)
        return found


def _by_asking(issuer: ExternalIssuer) -> TokenVerifier:
    client, secret = _introspection_client(issuer.settings)
    return IntrospectionVerifier(
        issuer.http,
        issuer.introspection,
        client_id=client,
        client_secret=secret,
        rules=issuer.rules,
        clock=issuer.clock,
    )


async def introspection_refusal(issuer: ExternalIssuer) -> str:
    """What the issuer has against our introspection client, tried with a token that nobody was given; or nothing.

    Raises:
        AuthorizationUnavailable: it cannot be asked.
    """
    try:
        await _by_asking(issuer).verify("switchboard-doctor")
    except IntrospectionRefused as refused:
        return str(refused)
    return ""


def _by_keys(issuer: ExternalIssuer) -> TokenVerifier:
    return JwksVerifier(IssuerKeys(issuer.http, issuer.keys), issuer.rules, clock=issuer.clock)


class ByShape:
    """JWTs by the issuer's keys, all others by asking, if the issuer can be asked at all."""

    def __init__(self, issuer: ExternalIssuer) -> None:
        self._issuer = issuer
        self._keys, self._asking = _by_keys(issuer), _by_asking(issuer)

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        if token.count(".") == 2:
            return await self._keys.verify(token)
        if "introspection_endpoint" in await self._issuer.metadata():
            return await self._asking.verify(token)
        UnacceptableToken("the token", "a JWT, as the issuer has no introspection_endpoint", "opaque").log(
            self._issuer.url
        )
        return None


VALIDATIONS: Final[Mapping[str, Callable[[ExternalIssuer], TokenVerifier]]] = {
    "introspection": _by_asking,
    "jwt": _by_keys,
    "auto": ByShape,
}

_NEEDED: Final = {"introspection": "introspection_endpoint", "jwt": "jwks_uri", "auto": "jwks_uri"}
"""Without which no token could ever be verified."""


async def check(issuer: ExternalIssuer) -> None:
    """Say what the issuer lacks. One that is away is no reason not to start: it will be asked again.

    Raises:
        ConfigurationError: its tokens can never be verified as the settings say.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            metadata = await issuer.metadata()
    except (AuthorizationUnavailable, TimeoutError) as error:
        why = str(error) or f"it did not answer within {TIMEOUT_S:.0f} seconds"
        events.warning("issuer.unreadable", issuer=issuer.url, why=f"{why}; until then requests are answered 503")
        return
    validation = issuer.settings.token_validation
    lacking = "; ".join(shortcomings(metadata, introspecting=validation == "introspection"))
    if not isinstance(metadata.get(_NEEDED[validation]), str):
        raise ConfigurationError(f"AUTH_SERVER_URL is {issuer.url}, TOKEN_VALIDATION is {validation}: {lacking}")
    if lacking:
        events.warning("issuer.incomplete", issuer=issuer.url, lacking=lacking)


def _introspection_client(settings: Settings) -> tuple[str, str]:
    """What is configured, or the credentials that a fleet shares with its own authorization server."""
    if settings.introspection_client_id and settings.introspection_client_secret:
        return settings.introspection_client_id, settings.introspection_client_secret.get_secret_value()
    return RESOURCE_SERVER, resource_server_secret(settings.key_ring[0])


def resources(settings: Settings) -> tuple[str, str]:
    """What tokens are for: the endpoint, and the old transport's, which is the same server under another URL."""
    return settings.mcp_url, f"{settings.base_uri}/sse"


def shortcomings(metadata: Mapping[str, Any], *, introspecting: bool) -> list[str]:
    """What is missing for clients to get tokens from this issuer and for us to verify them; a sentence each.

    Args:
        metadata: RFC 8414 or OpenID Connect Discovery.
        introspecting: whether tokens are verified by asking, rather than by the issuer's keys.
    """
    found = []
    if "S256" not in _list(metadata, "code_challenge_methods_supported"):
        found.append("it does not say that it supports PKCE with S256, so MCP clients refuse it")
    if not _can_know_clients(metadata):
        found.append("it has neither a registration endpoint nor client metadata documents: clients need a fixed id")
    needed = "introspection_endpoint" if introspecting else "jwks_uri"
    if not isinstance(metadata.get(needed), str):
        found.append(f"it has no {needed}, so its tokens cannot be verified this way")
    endpoints = ("authorization_endpoint", "token_endpoint")
    return found + [f"it has no {name}" for name in endpoints if not isinstance(metadata.get(name), str)]


def _can_know_clients(metadata: Mapping[str, Any]) -> bool:
    registers = isinstance(metadata.get("registration_endpoint"), str)
    return registers or metadata.get("client_id_metadata_document_supported") is True


def _list(metadata: Mapping[str, Any], name: str) -> list[Any]:
    value = metadata.get(name)
    return value if isinstance(value, list) else []
