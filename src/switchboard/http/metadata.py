"""Protected resource metadata (RFC 9728): where a client without a token learns who issues them.

Served at the path-inserted well-known URL (§3.1), and for the main resource at the root as well, where clients look
that do not know the path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_MAX_AGE = 300
"""Seconds the document may be cached: an issuer changes with a deployment, not with a request."""


def resource_metadata_url(resource: str) -> str:
    """The path-inserted URL: `https://h/base/mcp` has its document at `https://h/.well-known/…/base/mcp`."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{_inserted(resource)}"


def resource_metadata_routes(
    resource: str,
    *,
    authorization_servers: Iterable[str],
    scopes: Iterable[str] = (),
    name: str | None = None,
    documentation: str | None = None,
    at_root: bool = True,
) -> list[Route]:
    """Routes for one protected resource; `resource` and the issuers appear in the document byte for byte."""
    document = {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
        "resource_documentation": documentation,
    }
    body = json.dumps({key: value for key, value in document.items() if value}).encode()

    async def metadata(_: Request) -> Response:
        return Response(body, media_type="application/json", headers={"Cache-Control": f"public, max-age={_MAX_AGE}"})

    paths = dict.fromkeys((_inserted(resource), WELL_KNOWN) if at_root else (_inserted(resource),))
    return [Route(path, metadata, methods=["GET"]) for path in paths]


def _inserted(resource: str) -> str:
    return WELL_KNOWN + urlsplit(resource).path.rstrip("/")
