"""`POST /upstream/logout`: the upstream says that somebody logged out (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from auth_server.errors import Refusal
from auth_server.http.error_middleware import NO_STORE
from auth_server.http.params import form
from auth_server.shared import Shared


class Logout:
    """Ends what the person got through that login, on every worker."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, request: Request) -> Response:
        params = (await form(request)).refuse_repeated()
        alias = await self._shared.upstream.logged_out(params.require("logout_token"))
        if alias is None:
            raise Refusal("invalid_request", "the logout token is not valid")
        count = await self._shared.revocation.revoke("alias", alias)
        await self._shared.audit.record("logged out by the upstream", count=str(count))
        return Response(status_code=200, headers=NO_STORE)
