"""`POST /register`: dynamic client registration (RFC 7591)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.clients.authentication import SECRET_METHODS
from auth_server.clients.registration import checked, described
from auth_server.errors import Refusal
from auth_server.http.error_middleware import NO_STORE
from auth_server.models import Client
from auth_server.shared import Shared
from switchboard.common import strict_json
from switchboard.common.sealing import random_token


async def json_body(request: Request) -> Any:
    """The JSON of a request's body."""
    try:
        return strict_json.read(await request.body())
    except ValueError as error:
        raise Refusal("invalid_client_metadata", f"the body is not JSON that can be kept: {error}") from error


class Register:
    """Registers any client that asks; what it may do is decided by people, at consent."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        metadata = await json_body(request)
        client = checked(metadata, f"c_{secrets.token_urlsafe(16)}", self._shared.settings.scopes)
        secret = random_token() if client.auth_method in SECRET_METHODS else ""
        manage = random_token()
        client = replace(
            client,
            issued_at=int(self._shared.clock()),
            secret_mac=self._shared.ring.mac("client secret", secret) if secret else "",
            manage_mac=self._shared.ring.mac("registration access token", manage),
        )
        await self._shared.clients.add(client)
        await self._shared.audit.record("client.registered", client=client.id, name=client.name)
        return JSONResponse(self._answer(client, secret, manage), 201, headers=NO_STORE)

    def _answer(self, client: Client, secret: str, manage: str) -> dict[str, Any]:
        answer = described(client) | {
            "registration_client_uri": f"{self._shared.settings.base}/register/{client.id}",
            "registration_access_token": manage,
        }
        return answer | {"client_secret": secret, "client_secret_expires_at": 0} if secret else answer
