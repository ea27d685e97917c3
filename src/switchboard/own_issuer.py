"""Exchanging people's tokens at the authorization server in this process (RFC 8693), for servers that name no other.

Part of the composition root: `backend_configs` describes servers with it, `authorization.py` makes it work. It is made
before that server is, as configured servers are; a call of theirs, the first to ask, is served afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.account.issuer_client import InProcess
from switchboard.errors import ConfigurationError
from switchboard.external_issuer import resources
from switchboard.identity.scopes import SCOPES
from switchboard.keys import derive
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.settings import Settings

GATEWAY_CLIENT: Final = "switchboard:gateway"
"""What this gateway is called as the client that exchanges tokens there."""


def issuer_of(settings: Settings) -> str:
    """Who makes the tokens that people call this server with; empty if nobody signs in."""
    issuers = {"integrated": settings.base_uri, "separate": settings.auth_server_url or "", "none": ""}
    return issuers[settings.auth_mode]


class OwnIssuer:
    """This gateway as a trusted client of its own authorization server, which is asked without a network.

    Tokens are given for what configured servers name, and to this client alone.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.url = settings.base_uri
        self.secret = derive(settings.key_ring[0], "gateway client")
        """Of GATEWAY_CLIENT; both ends of it are in one process."""
        self._ours = resources(settings)
        self._scopes = frozenset((*SCOPES, *settings.extra_scopes))
        self._clock = clock
        self._audiences: dict[str, str] = {}
        self._app: ASGIApp | None = None

    def serve(self, app: ASGIApp) -> None:
        """Ask `app`, the authorization server at the paths of its issuer, from now on."""
        self._app = app

    def audiences_of(self, client_id: str) -> Collection[str]:
        """What a client of the authorization server may exchange tokens for, besides its usual resources."""
        return tuple(self._audiences.values()) if client_id == GATEWAY_CLIENT else ()

    def exchanging(self, server: str, audience: str, scopes: Sequence[str]) -> OAuthClient:
        """The client that gets tokens for a server, good for `scopes`; for all of the person's, if there are none.

        Raises:
            ConfigurationError: no such tokens could be had, or they would open this gateway.
        """
        if not audience:
            raise ConfigurationError("needs 'audience': for whom the exchanged tokens are to be")
        if audience.lower().rstrip("/") in {each.lower() for each in self._ours}:
            raise ConfigurationError(
                f"the audience {audience} is this gateway's own: with such a token the server could call here in the"
                " person's name; name the server's own"
            )
        if unknown := sorted(set(scopes) - self._scopes):
            raise ConfigurationError(
                f"the scope {unknown[0]!r} does not exist at this gateway's authorization server: EXTRA_SCOPES adds it"
            )
        provider = OAuthProvider(
            "This gateway's authorization server",
            issuer=self.url,
            client_id=GATEWAY_CLIENT,
            client_secret=self.secret,
            scopes=tuple(scopes),
            audience=audience,
        )
        client = OAuthClient(provider, InProcess(self._ask), clock=self._clock)
        self._audiences[server] = audience
        return client

    def forget(self, server: str) -> None:
        """No more tokens are given for this server."""
        self._audiences.pop(server, None)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            raise RuntimeError("the authorization server is not there yet")
        await self._app(scope, receive, send)
