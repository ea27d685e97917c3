"""Finding an issuer's endpoints."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from switchboard.common.discovery import Discovery, addresses_of
from switchboard.errors import AuthorizationUnavailable


def serving(documents: dict[str, Any]) -> httpx2.AsyncClient:
    """A client whose network has these documents, and nothing else."""

    async def answer(request: Request) -> Response:
        found = documents.get(request.url.path)
        return JSONResponse(found) if found else Response(status_code=404)

    app = Starlette(routes=[Route("/{rest:path}", answer)])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))


def test_an_issuer_with_a_path_is_looked_for_at_three_places() -> None:
    assert addresses_of("https://sso.example/realms/r/") == (
        "https://sso.example/.well-known/oauth-authorization-server/realms/r",
        "https://sso.example/.well-known/openid-configuration/realms/r",
        "https://sso.example/realms/r/.well-known/openid-configuration",
    )


async def test_the_document_that_names_exactly_this_issuer_counts() -> None:
    issuer = "https://sso.example/realms/r"
    documents = {
        "/.well-known/oauth-authorization-server/realms/r": {"issuer": issuer + "/", "introspection_endpoint": "wrong"},
        "/realms/r/.well-known/openid-configuration": {"issuer": issuer, "introspection_endpoint": "right"},
    }
    async with serving(documents) as http:
        assert await Discovery(http, issuer).endpoint("introspection_endpoint") == "right"


async def test_an_old_document_serves_while_the_issuer_is_away() -> None:
    issuer, now = "https://sso.example", [0.0]
    documents = {"/.well-known/oauth-authorization-server": {"issuer": issuer, "jwks_uri": "j"}}
    async with serving(documents) as http:
        discovery = Discovery(http, issuer, clock=lambda: now[0])
        await discovery.metadata()
        documents.clear()
        now[0] += 7_200

        assert await discovery.endpoint("jwks_uri") == "j"


async def test_an_issuer_without_a_document_is_unavailable() -> None:
    async with serving({}) as http:
        with pytest.raises(AuthorizationUnavailable):
            await Discovery(http, "https://sso.example").metadata()
