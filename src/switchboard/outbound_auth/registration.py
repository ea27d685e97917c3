"""This gateway as a client that nobody registered by hand: by a document (CIMD), or by RFC 7591, once for the fleet.

A registration is kept in the vault with the issuer that it was made at and the redirect URI that it was made for: with
another of either, and after two weeks, whoever connects has another made. Tokens are renewed as the client that they
were issued to.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx2

from switchboard.common.visible_text import excerpt
from switchboard.errors import CredentialUnavailable
from switchboard.fleet import FleetLocks
from switchboard.outbound_auth.client_auth import ClientIdentity, secret_method
from switchboard.outbound_auth.endpoints import Endpoints
from switchboard.outbound_auth.oauth_providers import ClientAuth, OAuthProvider
from switchboard.outbound_auth.provider_errors import ANSWER_S, explained, read_answer, refused
from switchboard.outbound_auth.token_set import fits
from switchboard.vault import RecordKey, Vault

RECORD: Final = "client"
"""The name of the newest registration among the records of a namespace; each has one of its own, too."""

CLIENT_NAME: Final = "MCP Switchboard"

KEPT_S: Final = 14 * 86_400.0
"""How long people connect with a registration: servers drop unused ones, which shows on a page that we never see."""

_PURPOSE: Final = "be known to the provider"
_REGISTERED: Final = "registered at the provider"
_UNKNOWN: Final = "the provider does not know the client any more"


def client_metadata(redirect_uris: list[str], method: str = "none") -> dict[str, Any]:
    """What this gateway says of itself as a client (RFC 7591 §2); with a `client_id`, a client-id document."""
    return {
        "client_name": CLIENT_NAME,
        "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        # A server that knows the difference takes http redirect URIs, on loopback, from native applications alone.
        "application_type": "native" if any(uri.startswith("http:") for uri in redirect_uris) else "web",
    }


class Registrations:
    """The registrations of one namespace.

    Args:
        locks: so that one worker registers for all.
        clock: Unix seconds; the fleet's.
    """

    def __init__(self, vault: Vault, locks: FleetLocks, namespace: str, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._locks = locks
        self._clock = clock
        self._namespace = namespace

    async def find(
        self, provider: OAuthProvider, endpoints: Endpoints, http: httpx2.AsyncClient, redirect_uri: str
    ) -> ClientIdentity:
        """Which client this gateway is for people who connect now; it registers where it has to.

        Raises:
            CredentialUnavailable: it is none, and cannot become one now.
        """
        if endpoints.client_documents and provider.client_document_url:
            return ClientIdentity(provider.client_document_url)
        if found := await self._registered(RECORD, endpoints.issuer, redirect_uri):
            return found
        if not endpoints.registration:
            raise CredentialUnavailable(
                f"{provider.name} does not let clients register themselves: its operator has to register this gateway"
                f" with the redirect URI {redirect_uri}, and client_id and client_secret go into the configuration"
            )
        async with self._locks.hold(self._namespace, RECORD):
            return await self._registered(RECORD, endpoints.issuer, redirect_uri) or await self._register(
                provider, endpoints, http, redirect_uri
            )

    async def known(self, provider: OAuthProvider, issuer: str, client_id: str) -> ClientIdentity:
        """The client that tokens were issued to.

        Raises:
            ProviderRefused: as `invalid_client`: there is no such registration any more.
        """
        if client_id == provider.client_document_url:
            return ClientIdentity(client_id)
        if found := await self._registered(_own_record(client_id), issuer):
            return found
        raise refused(provider.name, "know this gateway", "invalid_client", "it is not registered any more")

    async def forget(self, client_id: str) -> None:
        """The provider does not know this client any more: whoever connects next has it registered again."""
        record = await self._vault.get(self._key(RECORD), purpose=_PURPOSE)
        if record is not None and record.value.get("client_id") == client_id:
            await self._vault.delete(self._key(RECORD), purpose=_UNKNOWN)
        await self._vault.delete(self._key(_own_record(client_id)), purpose=_UNKNOWN)

    def _key(self, name: str) -> RecordKey:
        return RecordKey(self._namespace, name)

    async def _registered(self, name: str, issuer: str, redirect_uri: str = "") -> ClientIdentity | None:
        record = await self._vault.get(self._key(name), purpose=_PURPOSE)
        if record is None or record.value.get("issuer") != issuer:
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
        expires = float(until) if isinstance(until, int | float) and until > 1 else None
        value = {
            "issuer": endpoints.issuer,
            "redirect_uri": redirect_uri,
            "client_id": client_id,
            "client_secret": secret,
            "method": method,
        }
        # First for the tokens that will be issued to it, for as long as it lasts; then for whoever connects.
        await self._vault.put(self._key(_own_record(client_id)), value, purpose=_REGISTERED, expires_at=expires)
        soon = min(expires or math.inf, self._clock() + KEPT_S)
        await self._vault.put(self._key(RECORD), value, purpose=_REGISTERED, expires_at=soon)
        return ClientIdentity(client_id, method, secret)


def _own_record(client_id: str) -> str:
    return f"{RECORD}:{hashlib.sha256(client_id.encode()).hexdigest()[:16]}"
