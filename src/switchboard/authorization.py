"""The three ways to be authorized, as a table: who verifies tokens, and which routes come with that.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import structlog
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from auth_server import AuthorizationServer, AuthSettings, environment
from switchboard.edge.bearer import Anonymous, Bearer
from switchboard.edge.metadata import resource_metadata_routes, resource_metadata_url
from switchboard.errors import AuthorizationUnavailable, ConfigurationError
from switchboard.identity import (
    ADVERTISED,
    IMPLIES,
    RESOURCE_SERVER,
    ClaimRules,
    Discovery,
    InProcessVerifier,
    IntrospectionVerifier,
    IssuerKeys,
    JwksVerifier,
    Principal,
    TokenVerifier,
    resource_server_secret,
    shortcomings,
)
from switchboard.settings import Settings
from switchboard.state import State

DEFAULT_SCOPES: Final = ("mcp",)
"""What a client is told to ask for."""

ISSUER_TIMEOUT_S: Final = 5.0
UPSTREAM_TIMEOUT_S: Final = 10.0

events = structlog.get_logger("switchboard.authorization")


@dataclass(frozen=True)
class Authorization:
    """How the protocol endpoints are protected, and what else is served for that."""

    protect: Callable[[ASGIApp, str], ASGIApp]
    """Puts the endpoint at a path behind its own challenge (RFC 9728: a client checks that the resource is its URL)."""
    routes: Sequence[BaseRoute] = ()
    public: tuple[str, ...] = ()
    """Paths of the routes that pages of any origin may call."""


async def authorize(settings: Settings, state: State, stack: AsyncExitStack) -> Authorization:
    """Set up `AUTH_MODE`; what must be closed again goes on `stack`."""
    return await _MODES[settings.auth_mode](settings, state, stack)


async def _none(_settings: Settings, _state: State, _stack: AsyncExitStack) -> Authorization:
    return Authorization(lambda app, _path: Anonymous(app))


async def _integrated(settings: Settings, state: State, stack: AsyncExitStack) -> Authorization:
    issuing = _issuing(settings)
    http = await _client(stack, UPSTREAM_TIMEOUT_S) if issuing.upstream else None
    server = AuthorizationServer(issuing, state.redis, prefix=state.prefix, http=http, hold=state.replicas.hold)
    verifier = InProcessVerifier(server.introspect_token, issuer=settings.base_uri, resource=_resources(settings))
    return replace(_bearer(settings, settings.base_uri, verifier, server.routes()), public=server.public_paths())


_ISSUING: Final = (
    "redis_url",
    "secret_key",
    "allow_fake_idp",
    "rate_limit",
    "access_tokens",
    "upstream",
    "upstream_issuer",
    "upstream_client_id",
    "upstream_client_secret",
    "upstream_scopes",
    "upstream_subject_claim",
    "upstream_groups_claim",
    "upstream_group_scopes",
    "admins",
    "extra_scopes",
    "auth_clients",
    "trusted_issuers",
)
"""The settings that the part which issues tokens shares with us."""


def _issuing(settings: Settings) -> AuthSettings:
    """What the authorization server is told, by its own reading of the settings, so that both modes mean the same."""
    shared = {name: getattr(settings, name) for name in _ISSUING}
    read = environment.read(None, auth_server_url=settings.base_uri, resource_urls=_resources(settings), **shared)
    return read.auth


async def _client(stack: AsyncExitStack, timeout: float) -> httpx2.AsyncClient:
    return await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))


async def _separate(settings: Settings, _state: State, stack: AsyncExitStack) -> Authorization:
    issuer = settings.auth_server_url
    if issuer is None:  # settings refuse this; the type checker does not know
        raise ConfigurationError("AUTH_SERVER_URL is not set")
    http = await _client(stack, ISSUER_TIMEOUT_S)
    reached = Issuer(issuer, settings, http, Discovery(http, issuer))
    await _check(reached)
    return _bearer(settings, issuer, _VALIDATIONS[settings.token_validation](reached), names=settings.scope_map)


@dataclass(frozen=True)
class Issuer:
    """An authorization server elsewhere, and what is needed to verify its tokens."""

    url: str
    settings: Settings
    http: httpx2.AsyncClient
    discovery: Discovery

    @property
    def rules(self) -> ClaimRules:
        """How its claims are read."""
        settings = self.settings
        said: dict[str, Any] = {
            "issuer": self.url,
            "audiences": settings.token_audiences or _resources(settings),
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

    def principal(self, claims: Mapping[str, Any], now: float, skew: float = 0.0) -> Principal | None:
        """As the base class says."""
        named = claims if claims.get("aud") is not None else {**claims, "aud": next(iter(self.audiences))}
        found = ClaimRules.principal(self, named, now, skew)
        return found if found and found.client_id in self.clients else None


def _by_asking(issuer: Issuer) -> TokenVerifier:
    client, secret = _introspection_client(issuer.settings)
    return IntrospectionVerifier(
        issuer.http, issuer.introspection, client_id=client, client_secret=secret, rules=issuer.rules
    )


def _by_keys(issuer: Issuer) -> TokenVerifier:
    return JwksVerifier(IssuerKeys(issuer.http, issuer.keys), issuer.rules)


class ByShape:
    """JWTs by the issuer's keys, all others by asking, if the issuer can be asked at all."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys, self._asking = _by_keys(issuer), _by_asking(issuer)

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        if token.count(".") == 2:
            return await self._keys.verify(token)
        asks = "introspection_endpoint" in await self._issuer.metadata()
        return await self._asking.verify(token) if asks else None


_VALIDATIONS: Final[Mapping[str, Callable[[Issuer], TokenVerifier]]] = {
    "introspection": _by_asking,
    "jwt": _by_keys,
    "auto": ByShape,
}

_NEEDED: Final = {"introspection": "introspection_endpoint", "jwt": "jwks_uri", "auto": "jwks_uri"}
"""Without which no token could ever be verified."""


async def _check(issuer: Issuer) -> None:
    """Say what the issuer lacks. One that is away is no reason not to start: it will be asked again.

    Raises:
        ConfigurationError: its tokens can never be verified as the settings say.
    """
    try:
        async with asyncio.timeout(ISSUER_TIMEOUT_S):
            metadata = await issuer.metadata()
    except (AuthorizationUnavailable, TimeoutError):
        why = "its metadata cannot be read, or names another issuer; until it can, requests are answered 503"
        events.warning("issuer.unreadable", issuer=issuer.url, why=why)
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


def _bearer(
    settings: Settings,
    issuer: str,
    verifier: TokenVerifier,
    routes: Sequence[BaseRoute] = (),
    names: Mapping[str, str] | None = None,
) -> Authorization:
    def protect(app: ASGIApp, path: str) -> ASGIApp:
        return Bearer(
            app,
            verifier,
            resource_metadata_url=resource_metadata_url(settings.base_uri + path),
            advertised_scopes=_called(DEFAULT_SCOPES, names),
            implies=IMPLIES,
        )

    metadata = [
        route
        for resource in _resources(settings)
        for route in resource_metadata_routes(
            resource,
            authorization_servers=[issuer],
            scopes=_called(ADVERTISED, names),
            name="Switchboard",
            at_root=resource == settings.mcp_url,
        )
    ]
    return Authorization(protect, [*metadata, *routes])


def _called(scopes: Sequence[str], names: Mapping[str, str] | None) -> tuple[str, ...]:
    """Scopes by the issuer's names, as clients must ask for them there; those it has no name for are left out."""
    if not names:
        return tuple(scopes)
    return tuple(theirs for theirs, ours in names.items() if ours in scopes) or tuple(names)


def _resources(settings: Settings) -> tuple[str, str]:
    """What tokens are for: the endpoint, and the old transport's, which is the same server under another URL."""
    return settings.mcp_url, f"{settings.base_uri}/sse"


_MODES: Final[dict[str, Callable[[Settings, State, AsyncExitStack], Awaitable[Authorization]]]] = {
    "none": _none,
    "integrated": _integrated,
    "separate": _separate,
}
