"""This server as an OAuth client of the issuer whose tokens MCP clients have.

Registered beforehand (in one process with our authorization server, or by SIGN_IN_CLIENT_ID), or by RFC 7591 when
somebody first signs in; then the vault has the registration, for the whole fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import httpx2
from starlette.types import ASGIApp

from switchboard.identity import ScopeNames
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.provider_errors import ProviderRefused
from switchboard.outbound_auth.token_set import TokenSet

_for_address: ContextVar[str] = ContextVar("switchboard_account_address", default="")


class IssuerClient:
    """The requests that signing in takes. They raise `CredentialUnavailable`, with words for the person.

    Args:
        client: for the issuer, with this server's own resource.
        usual: the scopes that everybody is asked for, by the issuer's names.
        names: those names, for other scopes of ours.
    """

    def __init__(self, client: OAuthClient, usual: Sequence[str], names: ScopeNames) -> None:
        self._client = client
        self._usual = usual
        self._names = names

    async def authorization(self, redirect_uri: str, more: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
        """Where to send the browser, and what to keep until it comes back, of which its owner may see everything.

        Args:
            more: scopes of ours, besides the usual ones.
        """
        return await self._client.authorization(redirect_uri, scopes=(*self._usual, *self._names.needed(more)))

    async def by_callback(self, params: Mapping[str, str], kept: Mapping[str, Any], address: str) -> TokenSet:
        """The tokens for what the browser at `address` came back with."""
        try:
            with _Address(address):
                tokens, _ = await self._client.by_callback(params, kept)
        except ProviderRefused as error:
            if error.code == "invalid_client":
                await self._client.forget_registration(kept["client_id"])
            raise
        return tokens

    async def renew(self, before: TokenSet) -> TokenSet:
        """New tokens for old ones."""
        return await self._client.by_refresh_token(before)

    async def revoke(self, tokens: TokenSet) -> None:
        """End them, where the issuer can be told."""
        await self._client.revoke(tokens)


class _Address:
    """In whose name the requests of the block are made."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        self._reset = _for_address.set(self._address)

    def __exit__(self, *_: object) -> None:
        _for_address.reset(self._reset)


class InProcess(httpx2.AsyncBaseTransport):
    """Requests to the authorization server in this process, without a network: no proxy or name has to lead here.

    They count in the quotas of whom they are made for.

    Args:
        app: the authorization server, at the paths of its issuer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See the base class."""
        address = _for_address.get()
        return await httpx2.ASGITransport(self._app, client=(address, 0)).handle_async_request(request)
