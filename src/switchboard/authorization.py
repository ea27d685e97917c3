"""The three ways to be authorized, as a table: who verifies tokens, which routes come with that, where people sign in.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from auth_server import AuthorizationServer, AuthSettings
from auth_server.connectors.provider_check import announce
from auth_server.environment import issuing
from auth_server.models import TOKEN_EXCHANGE, KeepIdToken, keep_nothing
from auth_server.settings import StaticClient
from switchboard.account.issuer_client import InProcess, IssuerClient
from switchboard.account.routes import Issuer
from switchboard.account.sign_in import CALLBACK_PATH
from switchboard.common.discovery import Discovery
from switchboard.errors import ConfigurationError
from switchboard.external_issuer import TIMEOUT_S, VALIDATIONS, ExternalIssuer, check, resources
from switchboard.http.metadata import resource_metadata_routes, resource_metadata_url
from switchboard.http.middleware.bearer import Anonymous, Bearer, Gate
from switchboard.identity import ADVERTISED, IMPLIES, InProcessVerifier, ScopeNames, TokenVerifier
from switchboard.keys import derive
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.outbound_auth.outbound import Outbound
from switchboard.own_issuer import GATEWAY_CLIENT, OwnIssuer
from switchboard.settings import Settings
from switchboard.state import State

DEFAULT_SCOPES: Final = ("mcp",)
"""What a client is told to ask for."""

UPSTREAM_TIMEOUT_S: Final = 10.0

OWN_CLIENT: Final = "switchboard:sign-in"
"""What this server is called as a client of the authorization server in the same process."""

USUAL_SCOPES: Final = ("mcp",)

MakeIssuer = Callable[[Outbound], Issuer]


@dataclass(frozen=True)
class Authorization:
    """How the protocol endpoints are protected, and what else is served for that."""

    protect: Callable[[ASGIApp, str], Gate]
    """Puts the endpoint at a path behind its own challenge (RFC 9728: a client checks that the resource is its URL)."""
    routes: Sequence[BaseRoute] = ()
    public: tuple[str, ...] = ()
    """Paths of the routes that pages of any origin may call."""
    issuer: MakeIssuer | None = None
    """Where people sign in with a browser; `None` where nobody has a name."""


async def authorize(
    settings: Settings, state: State, stack: AsyncExitStack, own: OwnIssuer, keep_id_token: KeepIdToken = keep_nothing
) -> Authorization:
    """Set up `AUTH_MODE`; what must be closed again goes on `stack`.

    Args:
        own: has tokens exchanged by our authorization server, where that is in this process.
        keep_id_token: takes what an OpenID provider says of people who sign in here.
    """
    return await _MODES[settings.auth_mode](settings, state, stack, own, keep_id_token)


async def _none(
    _settings: Settings, _state: State, _stack: AsyncExitStack, _own: OwnIssuer, _keep: KeepIdToken
) -> Authorization:
    return Authorization(lambda app, _path: Anonymous(app))


async def _integrated(
    settings: Settings, state: State, stack: AsyncExitStack, own: OwnIssuer, keep_id_token: KeepIdToken
) -> Authorization:
    issuing = _knowing_us(settings, issuing_settings(settings), own)
    http = await _client(stack, UPSTREAM_TIMEOUT_S) if issuing.upstream else None
    server = AuthorizationServer.over(issuing, state, http, keep_id_token, own.audiences_of)
    if http is not None:
        await announce(issuing, http)
    verifier = InProcessVerifier(
        server.access_tokens, issuer=settings.base_uri, resource=resources(settings), clock=state.clock
    )
    app = Starlette(routes=server.routes())
    own.serve(app)
    issuer = _signing_in_here(settings, state, app, verifier, groups_decide=issuing.groups_decide)
    found = _bearer(settings, settings.base_uri, verifier, server.routes())
    return replace(found, public=server.public_paths(), issuer=issuer)


def issuing_settings(settings: Settings) -> AuthSettings:
    """The settings of the authorization server in this process, read as in a process of its own."""
    return issuing(settings, settings.base_uri, resources(settings))


def _knowing_us(settings: Settings, issuing: AuthSettings, own: OwnIssuer) -> AuthSettings:
    """With this server itself as two clients: for its own pages, and for tokens of the servers behind it."""
    pages = StaticClient(
        id=OWN_CLIENT,
        secret=_own_secret(settings),
        name="This server itself, for its own pages",
        redirect_uris=(settings.base_uri + CALLBACK_PATH,),
        grant_types=("authorization_code", "refresh_token"),
        scope=" ".join(issuing.scopes),
    )
    exchanging = StaticClient(
        id=GATEWAY_CLIENT, secret=own.secret, name="This gateway, for servers behind it", grant_types=(TOKEN_EXCHANGE,)
    )
    return replace(issuing, clients=(*issuing.clients, pages, exchanging))


def _own_secret(settings: Settings) -> str:
    """The secret of OWN_CLIENT; both ends of it are in one process."""
    return derive(settings.key_ring[0], "sign-in client")


def _signing_in_here(
    settings: Settings, state: State, server: ASGIApp, verifier: TokenVerifier, *, groups_decide: bool
) -> MakeIssuer:
    """Signing in at the authorization server in this process, which is asked without a network.

    Args:
        server: its endpoints.
        groups_decide: whether people may grant different things: then whoever may grant a part is signed in, too.
    """
    provider = OAuthProvider(
        "This server",
        issuer=settings.base_uri,
        client_id=OWN_CLIENT,
        client_secret=_own_secret(settings),
        resource=settings.mcp_url,
    )

    def issuer(_outbound: Outbound) -> Issuer:
        client = OAuthClient(provider, InProcess(server), clock=state.clock)
        usual = ADVERTISED if groups_decide else USUAL_SCOPES
        return Issuer(IssuerClient(client, settings.sign_in_scopes or usual, ScopeNames()), verifier)

    return issuer


def _signing_in_there(settings: Settings, issuer_url: str, verifier: TokenVerifier, names: ScopeNames) -> MakeIssuer:
    """Signing in at an issuer elsewhere: as the client that the settings name, or as one that registers itself."""
    secret = settings.sign_in_client_secret
    audiences = settings.token_audiences or resources(settings)
    provider = OAuthProvider(
        urlsplit(issuer_url).hostname or issuer_url,
        issuer=issuer_url,
        client_id=settings.sign_in_client_id or "",
        client_secret=secret.get_secret_value() if secret else "",
        # An issuer whose tokens are for another audience chooses that by the client or the scopes.
        resource=settings.mcp_url if settings.mcp_url in audiences else "",
        private_addresses=True,
    )

    def issuer(outbound: Outbound) -> Issuer:
        client = outbound.client(provider, "gateway")
        usual = settings.sign_in_scopes or names.offered(USUAL_SCOPES)
        return Issuer(IssuerClient(client, usual, names), verifier)

    return issuer


async def _client(stack: AsyncExitStack, timeout: float) -> httpx2.AsyncClient:
    return await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))


async def _separate(
    settings: Settings, state: State, stack: AsyncExitStack, _own: OwnIssuer, _keep: KeepIdToken
) -> Authorization:
    issuer = settings.auth_server_url
    if issuer is None:  # settings refuse this; the type checker does not know
        raise ConfigurationError("AUTH_SERVER_URL is not set")
    http = await _client(stack, TIMEOUT_S)
    reached = ExternalIssuer(issuer, settings, http, Discovery(http, issuer), state.clock)
    await check(reached)
    verifier, names = VALIDATIONS[settings.token_validation](reached), ScopeNames(settings.scope_map or {})
    found = _bearer(settings, issuer, verifier, names=names)
    return replace(found, issuer=_signing_in_there(settings, issuer, verifier, names))


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


_Mode = Callable[[Settings, State, AsyncExitStack, OwnIssuer, KeepIdToken], Awaitable[Authorization]]

_MODES: Final[dict[str, _Mode]] = {
    "none": _none,
    "integrated": _integrated,
    "separate": _separate,
}
