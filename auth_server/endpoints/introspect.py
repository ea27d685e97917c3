"""`POST /introspect` (RFC 7662): for resource servers of this fleet, and confidential clients about their tokens."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.clients.authentication import basic
from auth_server.errors import InvalidClient
from auth_server.http.error_middleware import NO_STORE
from auth_server.params import Params, form
from auth_server.shared import Shared
from switchboard.common.client_auth.by_secret import RESOURCE_SERVER


class Introspect:
    """Says what a token is. Callers always authenticate, so that nobody can try out tokens (§2.1)."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        caller = await self._caller(request, params)
        claims = await self._shared.access.claims(params.require("token"))
        if claims is None or caller not in (RESOURCE_SERVER, claims["client_id"]):
            return JSONResponse({"active": False}, headers=NO_STORE)
        return JSONResponse(active(claims), headers=NO_STORE)

    async def _caller(self, request: Request, params: Params) -> str:
        header = request.headers.get("authorization")
        if header is not None:
            name, secret = basic(header)
            if name == RESOURCE_SERVER:
                if not self._shared.ring.is_resource_server(secret):
                    raise InvalidClient
                return name
        client = await self._shared.authentication.client(request, params)
        if not client.confidential:
            raise InvalidClient("introspection is for clients that can authenticate")
        await self._shared.limits.authenticated(client, request)
        return client.id


def active(claims: dict[str, Any]) -> dict[str, Any]:
    """The answer about a good token."""
    return {"active": True, "token_type": "Bearer", **claims}
