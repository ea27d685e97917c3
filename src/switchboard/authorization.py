"""The three ways to be authorized, as a table: who verifies tokens, and which routes come with that.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

import httpx2
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from auth_server import AuthorizationServer, AuthSettings
from auth_server.connectors.provider_check import announce
from auth_server.environment import issuing
from switchboard.common.discovery import Discovery
from switchboard.errors import ConfigurationError
from switchboard.external_issuer import TIMEOUT_S, VALIDATIONS, ExternalIssuer, check, resources
from switchboard.http.metadata import resource_metadata_routes, resource_metadata_url
from switchboard.http.middleware.bearer import Anonymous, Bearer, Gate
from switchboard.identity import ADVERTISED, IMPLIES, InProcessVerifier, ScopeNames, TokenVerifier
from switchboard.settings import Settings
from switchboard.state import State

DEFAULT_SCOPES: Final = ("mcp",)
"""What a client is told to ask for."""

UPSTREAM_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Authorization:
    """How the protocol endpoints are protected, and what else is served for that."""

    protect: Callable[[ASGIApp, str], Gate]
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
    issuing = issuing_settings(settings)
    http = await _client(stack, UPSTREAM_TIMEOUT_S) if issuing.upstream else None
    server = AuthorizationServer.over(issuing, state, http)
    if http is not None:
        await announce(issuing, http)
    verifier = InProcessVerifier(
        server.access_tokens, issuer=settings.base_uri, resource=resources(settings), clock=state.clock
    )
    return replace(_bearer(settings, settings.base_uri, verifier, server.routes()), public=server.public_paths())


def issuing_settings(settings: Settings) -> AuthSettings:
    """The settings of the authorization server in this process, read as in a process of its own."""
    return issuing(settings, settings.base_uri, resources(settings))


async def _client(stack: AsyncExitStack, timeout: float) -> httpx2.AsyncClient:
    return await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))


async def _separate(settings: Settings, state: State, stack: AsyncExitStack) -> Authorization:
    issuer = settings.auth_server_url
    if issuer is None:  # settings refuse this; the type checker does not know
        raise ConfigurationError("AUTH_SERVER_URL is not set")
    http = await _client(stack, TIMEOUT_S)
    reached = ExternalIssuer(issuer, settings, http, Discovery(http, issuer), state.clock)
    await check(reached)
    return _bearer(
        settings, issuer, VALIDATIONS[settings.token_validation](reached), names=ScopeNames(settings.scope_map or {})
    )


def _bearer(
    settings: Settings,
    issuer: str,
    verifier: TokenVerifier,
    routes: Sequence[BaseRoute] = (),
    names: ScopeNames | None = None,
) -> Authorization:
    names = names or ScopeNames()

    def protect(app: ASGIApp, path: str) -> Gate:
        return Bearer(
            app,
            verifier,
            resource_metadata_url=resource_metadata_url(settings.base_uri + path),
            advertised_scopes=DEFAULT_SCOPES,
            implies=IMPLIES,
            names=names,
        )

    metadata = [
        route
        for resource in resources(settings)
        for route in resource_metadata_routes(
            resource,
            authorization_servers=[issuer],
            scopes=names.offered(ADVERTISED),
            name="Switchboard",
            at_root=resource == settings.mcp_url,
        )
    ]
    return Authorization(protect, [*metadata, *routes])


_MODES: Final[dict[str, Callable[[Settings, State, AsyncExitStack], Awaitable[Authorization]]]] = {
    "none": _none,
    "integrated": _integrated,
    "separate": _separate,
}
