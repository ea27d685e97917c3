"""This gateway as a client that nobody registered by hand: by a document (CIMD), or by RFC 7591, once for the fleet.

A registration is kept in the vault beside the issuer that it was made at and the redirect URI that it was made for;
with another of either, another is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from switchboard.common.visible_text import excerpt
from switchboard.errors import CredentialUnavailable
from switchboard.outbound_auth.client_auth import ClientIdentity, secret_method
from switchboard.outbound_auth.endpoints import Endpoints
from switchboard.outbound_auth.fleet_lock import FleetLocks
from switchboard.outbound_auth.oauth_providers import ClientAuth, OAuthProvider
from switchboard.outbound_auth.provider_errors import ANSWER_S, explained, read_answer
from switchboard.outbound_auth.token_set import fits
from switchboard.vault import RecordKey, Vault

RECORD: Final = "client"
"""The name of the registration among the records of a namespace."""

CLIENT_NAME: Final = "MCP Switchboard"

_PURPOSE: Final = "be known to the provider"


def client_metadata(redirect_uris: list[str], method: str = "none") -> dict[str, Any]:
    """What this gateway says of itself as a client (RFC 7591 §2); with a `client_id`, a client-id document."""
    return {
        "client_name": CLIENT_NAME,
        "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "web",
    }


class Registrations:
    """The registrations of one namespace.

    Args:
        locks: so that one worker registers for all.
    """

    def __init__(self, vault: Vault, locks: FleetLocks, namespace: str) -> None:
        self._vault = vault
        self._locks = locks
        self._key = RecordKey(namespace, RECORD)

    async def find(
        self, provider: OAuthProvider, endpoints: Endpoints, http: httpx2.AsyncClient, redirect_uri: str
    ) -> ClientIdentity:
        """Which client this gateway is.

        Args:
            redirect_uri: to register with; empty for a request that takes the registration that is there.

        Raises:
            CredentialUnavailable: it is none, and cannot become one now.
        """
        if endpoints.client_documents and provider.client_document_url:
            return ClientIdentity(provider.client_document_url)
        if found := await self._registered(endpoints, redirect_uri):
            return found
        if not redirect_uri:
            raise CredentialUnavailable(f"this gateway is not registered at {provider.name} any more: connect again")
        if not endpoints.registration:
            raise CredentialUnavailable(
                f"{provider.name} does not let clients register themselves: its operator has to register this gateway"
                f" with the redirect URI {redirect_uri}, and client_id and client_secret go into the configuration"
            )
        async with self._locks.hold(self._key.namespace, RECORD):
            return await self._registered(endpoints, redirect_uri) or await self._register(
                provider, endpoints, http, redirect_uri
            )

    async def forget(self, client_id: str) -> None:
        """The provider does not know this client any more: whoever connects next has it registered again."""
        record = await self._vault.get(self._key, purpose=_PURPOSE)
        if record is not None and record.value.get("client_id") == client_id:
            await self._vault.delete(self._key, purpose="the provider does not know the client any more")

    async def _registered(self, endpoints: Endpoints, redirect_uri: str) -> ClientIdentity | None:
        record = await self._vault.get(self._key, purpose=_PURPOSE)
        if record is None or record.value.get("issuer") != endpoints.issuer:
            return None
        if redirect_uri and redirect_uri != record.value.get("redirect_uri"):
            return None
        return ClientIdentity(record.value["client_id"], record.value["method"], record.value["client_secret"])

    async def _register(
        self, provider: OAuthProvider, endpoints: Endpoints, http: httpx2.AsyncClient, redirect_uri: str
    ) -> ClientIdentity:
        method: ClientAuth = secret_method(endpoints.auth_methods)
        if not endpoints.auth_methods or "none" in endpoints.auth_methods:
            method = "none"  # with PKCE a secret adds nothing, and what is not there cannot leak
        document = client_metadata([redirect_uri], method)
        if scopes := provider.scopes or endpoints.scopes:
            document["scope"] = " ".join(scopes)
        with explained(provider.name, "register this gateway"):
            async with asyncio.timeout(ANSWER_S):
                response = await http.post(
                    endpoints.registration, json=document, headers={"Accept": "application/json"}
                )
        answer = read_answer(provider.name, "register this gateway", response)
        return await self._keep(provider, endpoints, redirect_uri, answer)

    async def _keep(
        self, provider: OAuthProvider, endpoints: Endpoints, redirect_uri: str, answer: Mapping[str, Any]
    ) -> ClientIdentity:
        client_id, secret = answer.get("client_id"), answer.get("client_secret") or ""
        if not isinstance(client_id, str) or not fits(client_id):
            said = excerpt(answer.get("error_description") or answer.get("error") or "", 200)
            raise CredentialUnavailable(
                f"{provider.name} did not register this gateway{': ' + said if said else ''};"
                " its operator has to register it by hand, and to configure its client_id"
            )
        if not isinstance(secret, str) or (secret and not fits(secret)):
            raise CredentialUnavailable(
                f"{provider.name} gave this gateway a secret that cannot be used: tell its operator"
            )
        named = answer.get("token_endpoint_auth_method")
        method: ClientAuth = "none" if not secret else "client_secret_basic"
        if secret:
            method = (
                named
                if named in ("client_secret_basic", "client_secret_post")
                else secret_method(endpoints.auth_methods)
            )
        until = answer.get("client_secret_expires_at")
        expires = float(until) if isinstance(until, int | float) and not isinstance(until, bool) and until > 0 else None
        value = {
            "issuer": endpoints.issuer,
            "redirect_uri": redirect_uri,
            "client_id": client_id,
            "client_secret": secret,
            "method": method,
        }
        await self._vault.put(self._key, value, purpose="registered at the provider", expires_at=expires)
        return ClientIdentity(client_id, method, secret)
