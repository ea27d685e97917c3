"""`GET|PUT|DELETE /register/{client_id}`: a client looks after its own registration (RFC 7592)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.clients.authentication import SECRET_METHODS
from auth_server.clients.registration import checked, described
from auth_server.endpoints.register import json_body
from auth_server.errors import Refusal
from auth_server.http.error_middleware import NO_STORE
from auth_server.models import Client
from auth_server.shared import Shared
from switchboard.common.sealing import random_token

_OURS = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")
"""What only the server sets: a request that holds one is refused (§2.2)."""


class ClientConfiguration:
    """Reads, replaces and ends a registration, for who holds its registration access token."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        client, token = await self._authorized(request)
        await self._shared.limits.named(client, request)
        if request.method == "DELETE":
            return await self._end(client)
        if request.method == "PUT":
            return await self._replace(client, token, await json_body(request))
        return self._answer(client, token)

    async def _authorized(self, request: Request) -> tuple[Client, str]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client = await self._shared.clients.find(request.path_params["client_id"])
        good = client is not None and client.manage_mac and scheme.lower() == "bearer"
        if client is None or not good or not self._is_right(token.strip(), client):
            # One answer for a wrong token and for no such client (§2.1).
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Refusal("invalid_token", "the registration access token is not valid", 401, challenge)
        return client, token.strip()

    def _is_right(self, token: str, client: Client) -> bool:
        return self._shared.ring.matches("registration access token", token, client.manage_mac)

    async def _end(self, client: Client) -> Response:
        # Registering and unregistering takes no sign-in. Where nobody ever signed in there is nothing to end but a
        # code that is being written now, and the revocation mark need not outlive that.
        unused = await self._shared.clients.is_unused(client.id)
        await self._shared.clients.remove(client.id)
        lives = 2 * self._shared.settings.lifetimes.code if unused else None
        await self._shared.revocation.revoke("client", client.id, remembered=lives)
        await self._shared.audit.record("client.removed", client=client.id, name=client.name)
        return Response(status_code=204, headers=NO_STORE)

    async def _replace(self, client: Client, token: str, metadata: Any) -> Response:
        changed = checked(metadata, client.id, self._shared.settings.scopes)
        if metadata.get("client_id") != client.id:
            raise Refusal("invalid_client_metadata", "client_id must be there and cannot change")
        if any(name in metadata for name in _OURS):
            raise Refusal("invalid_client_metadata", f"{', '.join(_OURS)} are set by the server")
        self._check_secret(metadata.get("client_secret"), client)
        secret = self._new_secret(changed, client)
        kept = replace(
            changed,
            issued_at=client.issued_at,
            manage_mac=client.manage_mac,
            secret_mac=self._secret_mac(changed, client, secret),
        )
        await self._shared.clients.replace(kept)
        await self._shared.audit.record("client.updated", client=client.id, name=kept.name)
        return self._answer(kept, token, secret)

    def _check_secret(self, sent: object, client: Client) -> None:
        if sent is None:
            return
        if not isinstance(sent, str) or not self._shared.ring.matches("client secret", sent, client.secret_mac):
            raise Refusal("invalid_client_metadata", "client_secret can only be the one that was issued")

    @staticmethod
    def _new_secret(changed: Client, client: Client) -> str:
        return random_token() if changed.auth_method in SECRET_METHODS and not client.secret_mac else ""

    def _secret_mac(self, changed: Client, client: Client, secret: str) -> str:
        if changed.auth_method not in SECRET_METHODS:
            return ""
        return self._shared.ring.mac("client secret", secret) if secret else client.secret_mac

    def _answer(self, client: Client, token: str, secret: str = "") -> Response:
        # Secrets are kept as HMACs, so an old one cannot be shown again; its holder has it.
        answer: dict[str, Any] = described(client) | {
            "registration_client_uri": f"{self._shared.settings.base}/register/{client.id}",
            "registration_access_token": token,
        }
        if secret:
            answer |= {"client_secret": secret, "client_secret_expires_at": 0}
        return JSONResponse(answer, headers=NO_STORE)
