"""The three ways to be authorized, as a table: who verifies tokens, and which routes come with that.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import httpx2
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from auth_server import AuthorizationServer, AuthSettings
from switchboard.edge.bearer import Anonymous, Bearer
from switchboard.edge.metadata import resource_metadata_routes, resource_metadata_url
from switchboard.errors import ConfigurationError
from switchboard.identity import (
    IMPLIES,
    RESOURCE_SERVER,
    SCOPES,
    ClaimRules,
    Discovery,
    InProcessVerifier,
    IntrospectionVerifier,
    TokenVerifier,
    resource_server_secret,
)
from switchboard.settings import Settings
from switchboard.state import State

DEFAULT_SCOPES: Final = ("mcp",)
"""What a client is told to ask for."""

ISSUER_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Authorization:
    """How the protocol endpoints are protected, and what else is served for that."""

    protect: Callable[[ASGIApp, str], ASGIApp]
    """Puts the endpoint at a path behind its own challenge (RFC 9728: a client checks that the resource is its URL)."""
    routes: Sequence[BaseRoute] = ()


async def authorize(settings: Settings, state: State, stack: AsyncExitStack) -> Authorization:
    """Set up `AUTH_MODE`; what must be closed again goes on `stack`."""
    return await _MODES[settings.auth_mode](settings, state, stack)


async def _none(_settings: Settings, _state: State, _stack: AsyncExitStack) -> Authorization:
    return Authorization(lambda app, _path: Anonymous(app))


async def _integrated(settings: Settings, state: State, _stack: AsyncExitStack) -> Authorization:
    server = AuthorizationServer(
        AuthSettings(
            issuer=settings.base_uri,
            resources=_resources(settings),
            secret_keys=settings.key_ring,
            allow_fake_idp=settings.allow_fake_idp,
            scopes=SCOPES,
            default_scopes=DEFAULT_SCOPES,
            rate_limits=settings.rate_limit > 0,
        ),
        state.redis,
        prefix=state.prefix,
    )
    verifier = InProcessVerifier(server.introspect_token, issuer=settings.base_uri, resource=_resources(settings))
    return _bearer(settings, settings.base_uri, verifier, server.routes())


async def _separate(settings: Settings, _state: State, stack: AsyncExitStack) -> Authorization:
    issuer = settings.auth_server_url
    if issuer is None:  # settings refuse this; the type checker does not know
        raise ConfigurationError("AUTH_SERVER_URL is not set")
    http = await stack.enter_async_context(httpx2.AsyncClient(timeout=ISSUER_TIMEOUT_S))
    discovery = Discovery(http, issuer)

    async def introspection() -> str:
        return settings.introspection_url or await discovery.endpoint("introspection_endpoint")

    client, secret = _introspection_client(settings)
    verifier = IntrospectionVerifier(
        http,
        introspection,
        client_id=client,
        client_secret=secret,
        rules=ClaimRules(issuer=issuer, audiences=_resources(settings)),
    )
    return _bearer(settings, issuer, verifier)


def _introspection_client(settings: Settings) -> tuple[str, str]:
    """What is configured, or the credentials that a fleet shares with its own authorization server."""
    if settings.introspection_client_id and settings.introspection_client_secret:
        return settings.introspection_client_id, settings.introspection_client_secret.get_secret_value()
    return RESOURCE_SERVER, resource_server_secret(settings.key_ring[0])


def _bearer(
    settings: Settings, issuer: str, verifier: TokenVerifier, routes: Sequence[BaseRoute] = ()
) -> Authorization:
    def protect(app: ASGIApp, path: str) -> ASGIApp:
        return Bearer(
            app,
            verifier,
            resource_metadata_url=resource_metadata_url(settings.base_uri + path),
            advertised_scopes=DEFAULT_SCOPES,
            implies=IMPLIES,
        )

    metadata = [
        route
        for resource in _resources(settings)
        for route in resource_metadata_routes(
            resource,
            authorization_servers=[issuer],
            scopes=SCOPES,
            name="Switchboard",
            at_root=resource == settings.mcp_url,
        )
    ]
    return Authorization(protect, [*metadata, *routes])


def _resources(settings: Settings) -> tuple[str, str]:
    """What tokens are for: the endpoint, and the old transport's, which is the same server under another URL."""
    return settings.mcp_url, f"{settings.base_uri}/sse"


_MODES: Final[dict[str, Callable[[Settings, State, AsyncExitStack], Awaitable[Authorization]]]] = {
    "none": _none,
    "integrated": _integrated,
    "separate": _separate,
}
