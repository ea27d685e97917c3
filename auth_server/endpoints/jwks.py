"""`GET /jwks`: the public keys of this server's tokens (RFC 7517)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.jwt.signing_keys import SigningKeys


class Jwks:
    """Publishes the keys."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    async def __call__(self, request: Request) -> Response:
        return JSONResponse(await self._keys.published(), headers={"Cache-Control": "public, max-age=300"})
