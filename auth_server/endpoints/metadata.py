"""What the server publishes of itself: its metadata (RFC 8414, OpenID Connect Discovery) and its keys (RFC 7517)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server.clients.registration import AUTH_METHODS
from auth_server.crypto import PKCE_METHOD
from auth_server.grants import GRANT_TYPES
from auth_server.jwt.signing_keys import SigningKeys
from auth_server.scopes import ADMIN_SCOPES
from auth_server.settings import AuthSettings
from switchboard.common.jose import ALGORITHMS

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
_CACHED = {"Cache-Control": "public, max-age=300"}


def paths(settings: AuthSettings) -> tuple[str, ...]:
    """Where the document is found: before the issuer's path (RFC 8414 §3), and after it (OIDC Discovery §4)."""
    path = urlsplit(settings.base).path
    return tuple(dict.fromkeys((OAUTH + path, OPENID + path, path + OPENID, path + OAUTH)))


def document(settings: AuthSettings) -> dict[str, Any]:
    """The metadata of this server."""
    base = settings.base
    confidential = [method for method in AUTH_METHODS if method != "none"]
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "registration_endpoint": f"{base}/register",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "jwks_uri": f"{base}/jwks",
        # Clients ask for all that they find here; those of operators are for who knows to need them.
        "scopes_supported": [scope for scope in settings.scopes if scope not in ADMIN_SCOPES],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"],
        "code_challenge_methods_supported": [PKCE_METHOD],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": confidential,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "protected_resources": list(settings.resources),
    }


class Metadata:
    """`GET /.well-known/…`: the document, for issuers with and without a path."""

    def __init__(self, settings: AuthSettings) -> None:
        self._document = document(settings)

    async def __call__(self, request: Request) -> Response:
        return JSONResponse(self._document, headers=_CACHED)


class Jwks:
    """`GET /jwks`: the public keys of JWT access tokens."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    async def __call__(self, request: Request) -> Response:
        return JSONResponse(await self._keys.published(), headers=_CACHED)
