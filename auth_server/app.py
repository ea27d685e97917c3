"""The composition root of the authorization server: the one place that knows every part."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Route

from auth_server.assembly import assemble
from auth_server.connectors.base import CALLBACK_PATH
from auth_server.crypto import KeyRing
from auth_server.endpoints import grants_page, metadata
from auth_server.endpoints.authorize import Authorize
from auth_server.endpoints.callback import Callback
from auth_server.endpoints.client_configuration import ClientConfiguration
from auth_server.endpoints.consent import Consent
from auth_server.endpoints.introspect import Introspect, active
from auth_server.endpoints.metadata import Jwks, Metadata
from auth_server.endpoints.register import Register
from auth_server.endpoints.revoke import Logout, Revoke
from auth_server.endpoints.token import Token
from auth_server.grants import GrantStrategy
from auth_server.grants.authorization_code import AuthorizationCode
from auth_server.grants.client_credentials import ClientCredentials
from auth_server.grants.jwt_bearer import JwtBearer
from auth_server.grants.refresh_token import RefreshToken
from auth_server.grants.token_exchange import TokenExchange
from auth_server.http.error_middleware import Api, Page
from auth_server.jwt.signing_keys import SigningKeys
from auth_server.models import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    JWT_BEARER,
    REFRESH_TOKEN,
    TOKEN_EXCHANGE,
    KeepIdToken,
    ResourcesOf,
    keep_nothing,
    no_others,
)
from auth_server.pages.browser import Browser
from auth_server.pages.sessions import Sessions
from auth_server.settings import AuthSettings
from auth_server.store.access import AccessTokens
from auth_server.store.connection import Connection, Hold, at_once
from auth_server.store.revocation import By
from switchboard.common.fetch.fetcher import Fetcher
from switchboard.state import State
from switchboard.state.lookups import Lookups

MAX_BODY = 65_536
PUBLIC = ("/register", "/token", "/revoke", "/jwks")
"""What a client that runs in a browser calls, from whatever origin it has."""


class AuthorizationServer:
    """The whole server over one Redis; holds nothing itself that another worker would need.

    Args:
        settings: checked already.
        redis: with `decode_responses=True`; a real one or fakeredis.
        prefix: what every key starts with.
        clock: Unix seconds.
        fetcher: gets documents that clients name; the usual one reaches the public internet only.
        http: reaches the identity provider, when the settings name one; the caller closes it.
        hold: waits until a write will outlive its server.
        lookups: asks about access tokens; without them, `redis` is asked.
        keep_id_token: takes what an OpenID provider said of a person, at each sign-in and renewal.
        exchanged_for: see `ResourcesOf`.
    """

    def __init__(
        self,
        settings: AuthSettings,
        redis: Redis,
        *,
        prefix: str = "",
        clock: Callable[[], float] = time.time,
        fetcher: Fetcher | None = None,
        http: httpx2.AsyncClient | None = None,
        hold: Hold = at_once,
        lookups: Lookups | None = None,
        keep_id_token: KeepIdToken = keep_nothing,
        exchanged_for: ResourcesOf = no_others,
    ) -> None:
        self.settings = settings
        ring, connection = KeyRing(settings.secret_keys), Connection(redis, prefix, hold, lookups)
        self._signing = SigningKeys(connection, ring, clock)
        self._shared = assemble(
            settings,
            connection,
            ring,
            self._signing,
            clock,
            fetcher or Fetcher(),
            http,
            keep_id_token,
            exchanged_for,
        )

    @classmethod
    def over(
        cls,
        settings: AuthSettings,
        state: State,
        http: httpx2.AsyncClient | None,
        keep_id_token: KeepIdToken = keep_nothing,
        exchanged_for: ResourcesOf = no_others,
    ) -> AuthorizationServer:
        """The server of a process that holds this shared state open."""
        return cls(
            settings,
            state.redis,
            prefix=state.prefix,
            clock=state.clock,
            http=http,
            hold=state.replicas.hold,
            lookups=state.lookups,
            keep_id_token=keep_id_token,
            exchanged_for=exchanged_for,
        )

    def routes(self) -> list[Route]:
        """Every endpoint, to be mounted at the root of the host."""
        path = urlsplit(self.settings.base).path
        browser = Browser(self.settings, self._shared.ring)
        return [
            *self._discovery(),
            *self._api(path),
            *self._pages(path, browser),
            *self._shared.upstream.routes(),
        ]

    def public_paths(self) -> tuple[str, ...]:
        """Where pages of any origin may call: no cookie counts there. With a slash at the end: all below."""
        path = urlsplit(self.settings.base).path
        found = (place + name for name in PUBLIC for place in _places(path, name))
        return (*found, f"{path}/register/", f"{path}/.well-known/")

    def app(self) -> Starlette:
        """A process of its own."""
        return Starlette(routes=self.routes())

    @property
    def access_tokens(self) -> AccessTokens:
        """The access tokens, for a resource server in the same process."""
        return self._shared.access

    async def introspect_token(self, token: str) -> dict[str, Any] | None:
        """The answer about a good token (RFC 7662).

        Raises:
            StateUnavailable: Redis is away.
        """
        claims = await self._shared.access.claims(token)
        return active(claims) if claims else None

    async def revoke(self, by: By, value: str = "") -> int:
        """End all authorizations of a user (by subject) or a client (by id), or all there are; how many."""
        count = await self._shared.revocation.revoke(by, value)
        subject, client = (value if by == axis else "" for axis in ("user", "client"))
        await self._shared.audit.record("grants.revoked", subject=subject, client=client, by=by, count=str(count))
        return count

    async def revoke_token(self, token: str) -> str | None:
        """End all that came of the same consent as this token, be it a code, an access or a refresh token.

        Returns:
            For whom it was, in words, if that can be told; `None` when it is no token of ours.
        """
        family = await self._shared.families.of(token)
        if family is None:
            return None
        claims = await self._shared.access.claims(token)
        told = f": of {claims['sub']}, for {claims['client_id']}" if claims else ""
        await self._shared.families.revoke(family)
        subject = claims["sub"] if claims else ""
        await self._shared.audit.record("grants.revoked", subject=subject, by="token", family=family)
        return told

    async def forget(self, client_id: str) -> bool:
        """End a client's registration; whether there was one. Its tokens are ended by `revoke`, afterwards."""
        known = await self._shared.clients.remove(client_id)
        if known:
            await self._shared.audit.record("client.removed", client=client_id)
        return known

    async def change_signing_keys(self, *, keep_old: bool) -> str:
        """Make a new signing key; its id. It signs in ten minutes, or at once when the old ones are not kept."""
        kid = await self._signing.rotate(keep_old=keep_old)
        await self._shared.audit.record("signing_keys.rotated", kid=kid, old="published" if keep_old else "gone")
        return kid

    def _discovery(self) -> list[Route]:
        endpoint, keys = Api(Metadata(self.settings)), Api(Jwks(self._signing))
        found = [Route(path, endpoint, methods=["GET", "OPTIONS"]) for path in metadata.paths(self.settings)]
        return [*found, Route(urlsplit(self.settings.base).path + "/jwks", keys, methods=["GET", "OPTIONS"])]

    def _api(self, path: str) -> list[Route]:
        shared, limited = self._shared, self._shared.limits.limited
        grants: dict[str, GrantStrategy] = {
            AUTHORIZATION_CODE: AuthorizationCode(shared),
            REFRESH_TOKEN: RefreshToken(shared),
            CLIENT_CREDENTIALS: ClientCredentials(shared),
            TOKEN_EXCHANGE: TokenExchange(shared),
            JWT_BEARER: JwtBearer(shared),
        }
        table = (
            ("/register", limited("register", Register(shared)), ["POST"]),
            ("/register/{client_id}", limited("manage", ClientConfiguration(shared)), ["GET", "PUT", "DELETE"]),
            ("/token", limited("token", Token(shared, grants)), ["POST"]),
            ("/revoke", limited("token", Revoke(shared)), ["POST"]),
            ("/introspect", limited("introspect", Introspect(shared)), ["POST"]),
            ("/upstream/logout", limited("login", Logout(shared)), ["POST"]),
        )
        return [
            Route(place + name, Api(respond), methods=[*methods, "OPTIONS"], max_body_size=MAX_BODY)
            for name, respond, methods in table
            for place in _places(path, name)
        ]

    def _pages(self, path: str, browser: Browser) -> list[Route]:
        shared, limited = self._shared, self._shared.limits.limited
        sessions = Sessions(self.settings, shared.records, shared.revocation)
        table = (
            ("/authorize", limited("authorize", Authorize(shared, browser)), ["GET", "POST"]),
            ("/consent", limited("authorize", Consent(shared, browser)), ["POST"]),
            (CALLBACK_PATH, limited("login", Callback(shared, browser, sessions)), ["GET"]),
            (
                grants_page.PATH,
                limited("authorize", grants_page.GrantsPage(shared, browser, sessions)),
                ["GET", "POST"],
            ),
        )
        return [
            Route(place + name, Page(respond, shared.pages), methods=methods, max_body_size=MAX_BODY)
            for name, respond, methods in table
            for place in _places(path, name)
        ]


def _places(path: str, name: str) -> tuple[str, ...]:
    """Clients of 2025-03-26 look for three endpoints at the root, whatever the issuer's path."""
    at_root = name in ("/authorize", "/token", "/register")
    return (path, "") if path and at_root else (path,)
