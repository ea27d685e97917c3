"""The scope `admin`: asked for by any client, granted by few people (MCP: scope minimization)."""

from __future__ import annotations

from tests.auth.conftest import MakeWorld, World


async def test_nobody_is_an_administrator_by_asking(make_world: MakeWorld) -> None:
    """MCP Inspector asks for all that it finds, and people click on "Allow"."""
    world = make_world(admins=())
    tokens = await world.tokens(user="mallory", scope="mcp admin")
    assert tokens["scope"] == "mcp"


async def test_who_may_only_have_what_they_may_not_gets_nothing(make_world: MakeWorld) -> None:
    world = make_world(admins=("carol",))
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce, "mallory", scope="admin")
    assert back["error"] == "access_denied"
    assert "code" not in back


async def test_an_administrator_is_named_by_the_settings_and_only_asks_for_it_when_it_is_needed(
    make_world: MakeWorld,
) -> None:
    world = make_world(admins=("carol",))
    assert (await world.tokens(user="carol", scope="mcp admin"))["scope"] == "mcp admin"
    assert (await world.tokens(user="carol", scope=None))["scope"] == "mcp"


async def test_who_is_no_administrator_any_more_does_not_go_on_as_one(make_world: MakeWorld) -> None:
    before, after = make_world(admins=("carol",)), make_world(admins=())
    tokens = await before.tokens(user="carol", scope="mcp admin")

    narrowed = await after.refresh(tokens["client"], tokens["refresh_token"])
    refused = await after.refresh(tokens["client"], narrowed.json()["refresh_token"], scope="admin")

    assert narrowed.json()["scope"] == "mcp"
    assert refused.json()["error"] == "invalid_scope"


async def test_administration_is_not_advertised(world: World) -> None:
    async with world.browser() as http:
        found = (await http.get("/.well-known/oauth-authorization-server")).json()["scopes_supported"]
    assert found == ["mcp", "mcp:tools", "mcp:resources", "mcp:prompts"]
