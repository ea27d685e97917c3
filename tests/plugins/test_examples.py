"""The plugins in examples/plugins, against services and a provider on this machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from mcp import Client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from switchboard.audit import NoAuditLog
from switchboard.config import PluginSection
from switchboard.identity import Caller, Principal, serving
from switchboard.outbound_auth.outbound import Outbound
from switchboard.plugin_set import PluginCredentials
from switchboard.plugins import Plugin, PluginLoader, PluginSources
from switchboard.plugins.testing import served
from switchboard.protocol.direct_requests import NeedsContext, ToolCall, WorkInContext
from switchboard.state import open_state
from switchboard.vault import Cipher, RedisStore, Vault
from tests.outbound_auth.conftest import connect
from tests.outbound_auth.provider import Provider
from tests.outbound_auth.provider import served as provider_served
from tools.serving import serving as application_served

FOLDER = Path(__file__).parents[2] / "examples" / "plugins"
KEY = ECKey.generate_key("P-256")
ALICE = Principal("https://as.example", "alice", "inspector", frozenset({"mcp"}))


def example(name: str) -> Plugin:
    code = PluginSources(FOLDER).find([name])[name]
    return PluginLoader.declared(code, PluginSection(), code.load())


async def _forecast(request: Request) -> JSONResponse:
    if request.headers.get("x-api-key") != "right":
        return JSONResponse({}, 401)
    return JSONResponse({"forecast": f"rain in {request.query_params['city']}"})


async def _latest(request: Request) -> JSONResponse:
    claims = jwt.decode(request.headers["authorization"].removeprefix("Bearer "), KEY, algorithms=["ES256"]).claims
    whole = claims["exp"] - claims["iat"] == 60 and claims["aud"] == str(request.base_url).rstrip("/")
    return JSONResponse({"title": f"of {claims['iss']}"}, 200 if whole else 401)


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """The services that two of them call."""
    app = Starlette(routes=[Route("/forecast", _forecast), Route("/reports/latest", _latest)])
    async with application_served(app) as server:
        yield f"http://127.0.0.1:{server.port}"


async def told(client: Client, tool: str, **arguments: Any) -> tuple[bool, str]:
    result = await client.call_tool(tool, arguments)
    return bool(result.is_error), result.content[0].text  # type: ignore[union-attr]


async def test_the_api_key_of_a_person_opens_the_service_and_a_wrong_one_is_forgotten(service: str) -> None:
    weather = example("weather")
    async with (
        served(weather, config={"url": service}, credentials={"api_key": "right"}) as server,
        Client(server) as client,
    ):
        assert await told(client, "forecast", city="Oslo") == (False, "rain in Oslo")
    async with (
        served(weather, config={"url": service}, credentials={"api_key": "wrong"}) as server,
        Client(server) as client,
    ):
        failed, text = await told(client, "forecast", city="Oslo")
        assert failed
        assert "refuses your API key" in text


async def test_a_token_is_signed_for_the_service_with_the_persons_key(service: str) -> None:
    entered = {"account": "acme", "private_key": json.dumps(KEY.as_dict(private=True))}
    async with (
        served(example("reports"), config={"url": service}, credentials=entered) as server,
        Client(server) as client,
    ):
        assert await told(client, "latest") == (False, "of acme")


async def test_a_person_who_signed_in_is_known_at_the_provider(redis_url: str) -> None:
    async with provider_served(Provider()) as provider, open_state(redis_url) as state:
        vault = Vault(RedisStore(state), Cipher(["k" * 32]), NoAuditLog(), state.clock)
        async with Outbound(state, vault, "w1").running() as outbound:
            auth = {"issuer": provider.url, "client_id": "gateway", "client_secret": "secret", "scopes": ["read"]}
            section = PluginSection(config={"api": provider.url, "path": "/api/me"}, auth=auth)
            keep = PluginCredentials(vault, outbound)
            plugin = example("repositories")
            made = PluginLoader(keep).provider(plugin, section)
            tool = made.direct("me")
            assert tool is not None
            call = tool.prepare(ToolCall("me", {}, {}, "2025-11-25"))
            assert call is not None
            assert not isinstance(call, WorkInContext)
            with serving(Caller(ALICE)):
                with pytest.raises(NeedsContext) as asks:
                    await call()
                assert str(asks.value.__cause__) == "You are not connected to repositories yet"
                connectable = keep.connectable(plugin, section)
                assert connectable is not None
                await connect(connectable.accounts, ALICE.person)  # type: ignore[arg-type]
                known: Any = await call()
            assert known.text == provider.signed_in
