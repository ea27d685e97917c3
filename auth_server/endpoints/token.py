"""`POST /token`: authenticate the client, then let the grant's strategy decide."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.errors import Refusal
from auth_server.grants import GrantStrategy, TokenRequest
from auth_server.http.error_middleware import NO_STORE
from auth_server.params import form
from auth_server.shared import Shared


class Token:
    """Issues tokens."""

    def __init__(self, shared: Shared, grants: Mapping[str, GrantStrategy]) -> None:
        self._shared = shared
        self._grants = grants

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        grant_type = params.require("grant_type")
        try:
            client = await self._shared.authentication.client(request, params)
            await self._shared.limits.authenticated(client, request)
            strategy = self._grants.get(grant_type)
            if strategy is None:
                raise Refusal("unsupported_grant_type", "this server does not support that grant type")
            if grant_type not in client.grant_types:
                raise Refusal("unauthorized_client", "this client may not use that grant type")
            response = await strategy(TokenRequest(client, params))
            await self._shared.clients.keep(client)
        except Refusal as refusal:
            await self._shared.audit.record(
                "token_request.refused", client=params.get("client_id"), grant=grant_type, error=refusal.code
            )
            raise
        return JSONResponse(response, headers=NO_STORE)
