"""`token_exchange` at our own authorization server: the row names an audience and scopes, and nothing is registered.

The server behind the gateway is another one of ours, which verifies tokens by the issuer, and their `aud`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from switchboard.backend_configs import CredentialsOfServers
from switchboard.common.client_auth.by_secret import RESOURCE_SERVER, resource_server_secret
from switchboard.config.overlay import Overlay
from switchboard.config.servers import ServerSection
from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.connectables import Connectables
from switchboard.outbound_auth.strategies.exchanged import RECORD
from switchboard.own_issuer import GATEWAY_CLIENT, OwnIssuer
from switchboard.settings import load_settings
from switchboard.vault import RecordKey
from tests.authorized.conftest import Gateway, Open, listed
from tests.sessions.conftest import KEY, serving
from tools.fleet.children import free_port
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

AUDIENCE = "https://warehouse.example.com"
ROW: Mapping[str, Any] = {"strategy": "token_exchange", "audience": AUDIENCE, "scopes": ["mcp:tools"]}
TYPE = "urn:ietf:params:oauth:token-type:access_token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TOOL = "warehouse__echo"


@asynccontextmanager
async def warehouse(
    opened: Open, validation: str = "introspection", **given: Any
) -> AsyncIterator[tuple[Gateway, str]]:
    """Two workers, and behind them a server that takes tokens of theirs for AUDIENCE alone; its URL."""
    port = free_port()
    url = f"http://localhost:{port}/mcp"
    row = {"url": url, "auth": ROW}
    gateway = await opened({}, rows={"warehouse": row}, settings=given)
    issuer: dict[str, Any] = {"auth_server_url": gateway.base, "token_validation": validation, "auth_mode": "separate"}
    async with serving(None, port, **issuer, base_uri=f"http://localhost:{port}", token_audiences=(AUDIENCE,)):
        yield gateway, url


async def called(client: Any, word: str) -> str:
    """What the server behind answers."""
    await listed(client, TOOL)
    return text(await client.call_tool(TOOL, {"message": word}))


async def exchanged(gateway: Gateway, name: str) -> str:
    """The token that a person's was exchanged for."""
    key = RecordKey("server:warehouse", RECORD, gateway.person(name))
    record = await gateway.of(0).vault.get(key, purpose="test")
    return str(record.value["access_token"])


async def status(url: str, token: str) -> int:
    """How a server answers somebody with this token."""
    async with httpx2.AsyncClient() as http:
        return (await http.post(url, json={}, headers={"authorization": f"Bearer {token}"})).status_code


async def asked(gateway: Gateway, path: str, who: tuple[str, str], **form: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(auth=who) as http:
        found: dict[str, Any] = (await http.post(f"{gateway.base}{path}", data=form)).json()
    return found


async def exchange(gateway: Gateway, who: tuple[str, str], audience: str) -> dict[str, Any]:
    form = {"subject_token": await gateway.token("alice"), "subject_token_type": TYPE, "audience": audience}
    return await asked(gateway, "/token", who, grant_type=GRANT, **form)


@pytest.mark.parametrize(
    ("era", "access_tokens", "validation"), [("handshake", "opaque", "introspection"), ("modern", "jwt", "jwt")]
)
async def test_each_person_gets_a_token_for_the_named_audience_that_this_gateway_itself_does_not_take(
    era: str, access_tokens: str, validation: str, opened: Open
) -> None:
    async with warehouse(opened, validation, access_tokens=access_tokens) as (gateway, url):
        async with gateway.client("alice", era) as alice, gateway.client("bob", era) as bob:
            for client, name in ((alice, "alice"), (bob, "bob")):
                assert name in await called(client, name)
                token = await exchanged(gateway, name)
                who = (RESOURCE_SERVER, resource_server_secret(KEY))
                claims = await asked(gateway, "/introspect", who, token=token)
                assert (claims["sub"], claims["aud"], claims["scope"]) == (name, AUDIENCE, "mcp:tools")
                assert claims["act"] == {"sub": GATEWAY_CLIENT}
                assert await status(f"{gateway.base}/mcp", token) == 401
                assert await status(url, await gateway.token(name)) == 401, "which is for us alone"
                assert (token.count(".") == 2) is (access_tokens == "jwt")
        assert len({await exchanged(gateway, name) for name in ("alice", "bob")}) == 2


async def test_nobody_but_the_gateway_gets_tokens_for_what_its_rows_name_and_it_for_nothing_else(opened: Open) -> None:
    machine = {"id": "machine", "secret": "secret of a machine", "grant_types": [GRANT]}
    async with warehouse(opened, auth_clients=(machine,)) as (gateway, _):
        async with gateway.client("alice", "modern") as alice:
            assert "hello" in await called(alice, "hello")
        own = (quote(GATEWAY_CLIENT, safe=""), gateway.of(0).own_issuer.secret)
        refused = await exchange(gateway, ("machine", "secret of a machine"), AUDIENCE)
        assert refused["error"] == "invalid_target"
        assert (await exchange(gateway, own, "https://elsewhere.example.com"))["error"] == "invalid_target"
        assert "access_token" in await exchange(gateway, own, AUDIENCE)
        await Overlay(gateway.workers[0].app.rooms.state).change({"mcpServers": {"warehouse": {"enabled": False}}})
        async with asyncio.timeout(120):
            while "access_token" in await exchange(gateway, own, AUDIENCE):
                await asyncio.sleep(0.05)


async def test_a_scope_that_the_persons_token_does_not_have_is_refused_to_them_in_words(opened: Open) -> None:
    gateway = await opened({**ROW, "scopes": ["admin"], "discovery": "anonymous"})
    gateway.echo.guard = lambda _: None
    async with gateway.client("alice", "modern") as alice:
        await listed(alice, "echo__headers")
        with pytest.raises(MCPError, match=r"refused to exchange a token \(invalid_scope"):
            await alice.call_tool("echo__headers", {})
    assert not gateway.echo.calls


@pytest.mark.parametrize(
    ("mode", "auth", "said"),
    [
        ("none", {}, "and AUTH_MODE is none"),
        ("separate", {}, "needs the 'client_id' that the gateway has at https://login.example.com"),
        ("integrated", {"issuer": "https://other.example.com"}, "needs the 'client_id' .* https://other.example.com"),
        ("integrated", {"audience": "http://localhost:3232/mcp/"}, "is this gateway's own"),
        ("integrated", {"audience": "http://localhost:3232/sse"}, "is this gateway's own"),
        ("integrated", {"audience": None, "resource": ""}, "needs 'audience'"),
        ("integrated", {"resource": "https://warehouse.example.com/mcp"}, "only one of 'audience' and 'resource'"),
        ("integrated", {"scopes": ["warehouse.read"]}, "'warehouse.read' does not exist .* EXTRA_SCOPES adds it"),
        ("integrated", {"subject": "id_token"}, "'subject: id_token' is exchanged elsewhere"),
    ],
)
def test_a_row_that_could_get_no_tokens_says_what_is_missing(mode: str, auth: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^mcpServers.warehouse.auth: .*{said}"):
        credentials(mode).of("warehouse", section(auth))


def test_scopes_that_the_settings_add_can_be_asked_for_and_the_url_is_the_audience_where_none_is_named() -> None:
    made = credentials("integrated", extra_scopes=("warehouse.read",))
    made.of("warehouse", section({"audience": None, "scopes": ["warehouse.read"]}))
    assert made.own is not None
    assert list(made.own.audiences_of(GATEWAY_CLIENT)) == ["https://warehouse.example.com/mcp"]
    assert list(made.own.audiences_of("another client")) == []
    made.forget("warehouse")
    assert list(made.own.audiences_of(GATEWAY_CLIENT)) == []


def section(auth: Mapping[str, Any]) -> ServerSection:
    said = {name: value for name, value in {**ROW, **auth}.items() if value is not None}
    return ServerSection.model_validate({"url": "https://warehouse.example.com/mcp", "auth": said})


def credentials(mode: str, **given: Any) -> CredentialsOfServers:
    """Of a gateway that is not running: no provider is asked."""
    settings = load_settings(None, secret_key=KEY, base_uri="http://localhost:3232", **given)
    issuer = {"none": "", "separate": "https://login.example.com", "integrated": settings.base_uri}[mode]
    own = OwnIssuer(settings, lambda: 0.0) if mode == "integrated" else None
    outside: Any = None
    return CredentialsOfServers(outside, outside, Connectables(), issuer, own, lambda: 0.0)
