"""The issuer's names for our scopes: what a client is told to ask for is what the issuer knows."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from switchboard.authorization import authorize
from switchboard.http.scopes import InsufficientScope, answer
from switchboard.own_issuer import OwnIssuer
from switchboard.settings import load_settings
from switchboard.state import open_state

AUDIENCE = "http://localhost:3232/mcp"


async def _told(issuer: Any, scope_map: dict[str, str], needed: set[str]) -> tuple[list[list[str]], str]:
    """The scopes in the challenges 401 and 403 and in the metadata, and the text of 403."""

    async def demanding(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(InsufficientScope(frozenset(needed)), scope, send)

    settings = load_settings(
        None, auth_mode="separate", auth_server_url=issuer.url, token_validation="jwt", scope_map=scope_map
    )
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(open_state(None))
        authorization = await authorize(settings, state, stack, OwnIssuer(settings, state.clock))
        app = Starlette(routes=[*authorization.routes, Route("/mcp", authorization.protect(demanding, "/mcp"))])
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=settings.base_uri)
        )
        token = issuer.token(aud=AUDIENCE, scope="openid")
        first = await http.post("/mcp")
        second = await http.post("/mcp", headers={"Authorization": f"Bearer {token}"})
        metadata = await http.get("/.well-known/oauth-protected-resource/mcp")
    assert (first.status_code, second.status_code) == (401, 403)
    challenged = [re.search(r'scope="([^"]*)"', each.headers["www-authenticate"]) for each in (first, second)]
    asked = [found[1].split() if found else [] for found in challenged]
    return [*asked, metadata.json()["scopes_supported"]], second.text


@pytest.mark.parametrize(
    ("scope_map", "needed", "first", "step_up", "offered"),
    [
        ({"Mcp.Use": "mcp"}, {"mcp:tools"}, ["Mcp.Use"], ["Mcp.Use"], ["Mcp.Use"]),
        ({"Mcp.Use": "mcp", "Mcp.Run": "mcp:tools"}, {"mcp:tools"}, ["Mcp.Use"], ["Mcp.Run"], ["Mcp.Use", "Mcp.Run"]),
        # Of several names for one of ours the first is asked for; a role with a space cannot be.
        ({"Mcp users": "mcp", "api://x/Use": "mcp", "Use": "mcp"}, {"mcp:tools"}, *[["api://x/Use"]] * 3),
        # What configuration asks for a tool, with a name at the issuer and without one.
        ({"U": "mcp", "N.W": "notes:write"}, {"mcp:tools", "notes:write"}, ["U"], ["U", "N.W"], ["U"]),
        ({"U": "mcp"}, {"mcp:tools", "notes:write"}, ["U"], ["U", "notes:write"], ["U"]),
        # Nobody is told to ask for administration who does not need it.
        ({"A": "admin", "U": "mcp"}, {"admin"}, ["U"], ["A"], ["U"]),
        ({"A": "admin"}, {"mcp:tools"}, ["mcp"], ["mcp:tools"], ["mcp", "mcp:tools", "mcp:resources", "mcp:prompts"]),
        # Only parts of `mcp` have names there.
        ({"T": "mcp:tools"}, {"mcp:tools"}, ["T"], ["T"], ["T", "mcp:resources", "mcp:prompts"]),
    ],
)
async def test_clients_are_told_scopes_by_the_issuers_names(
    start_issuer: Any,
    scope_map: dict[str, str],
    needed: set[str],
    first: list[str],
    step_up: list[str],
    offered: list[str],
) -> None:
    issuer = await start_issuer()
    told, message = await _told(issuer, scope_map, needed)
    assert told == [first, step_up, offered]
    assert f"{' '.join(step_up)} is needed" in message
