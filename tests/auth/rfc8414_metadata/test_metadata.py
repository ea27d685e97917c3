"""RFC 8414 and OpenID Connect Discovery."""

from __future__ import annotations

import pytest

from tests.auth.conftest import MakeWorld, World

DOCUMENTS = {
    "http://localhost:3001": [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ],
    "http://localhost:3001/tenants/a": [
        "/.well-known/oauth-authorization-server/tenants/a",
        "/.well-known/openid-configuration/tenants/a",
        "/tenants/a/.well-known/openid-configuration",
    ],
    "http://localhost:3001/": [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ],
}


@pytest.mark.parametrize("issuer", DOCUMENTS)
async def test_every_document_names_exactly_the_issuer(make_world: MakeWorld, issuer: str) -> None:
    """AUTH.md row 11."""
    world = make_world(issuer=issuer)
    async with world.browser() as http:
        found = [await http.get(path) for path in DOCUMENTS[issuer]]

    assert [response.status_code for response in found] == [200] * len(found)
    assert {response.json()["issuer"] for response in found} == {issuer}


async def test_the_document_says_what_clients_rely_on(world: World) -> None:
    """AUTH.md rows 11, 12, 16 and 24."""
    async with world.browser() as http:
        document = (await http.get("/.well-known/oauth-authorization-server")).json()

    assert document["authorization_endpoint"] == "http://localhost:3001/authorize"
    assert document["token_endpoint"] == "http://localhost:3001/token"
    assert document["registration_endpoint"] == "http://localhost:3001/register"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert "none" in document["token_endpoint_auth_methods_supported"]
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]


async def test_an_issuer_with_a_path_serves_under_it_and_at_the_root_for_old_clients(make_world: MakeWorld) -> None:
    """AUTH.md row 11: clients of 2025-03-26 look at the root."""
    world = make_world(issuer="http://localhost:3001/tenants/a")
    for path in ("", "/tenants/a"):
        async with world.browser() as http:
            client = (await http.post(f"{path}/register", json={"redirect_uris": ["http://localhost/cb"]})).json()
            page = await http.get(f"{path}/authorize", params=world.question(client, world.pkce()))
            assert 'action="/tenants/a/consent"' in page.text
            left = await http.post("/tenants/a/consent", data=world.hidden(page.text) | {"decision": "allow"})
            assert left.headers["location"].startswith("http://localhost:3001/tenants/a/fakeupstreamauth/authorize?")
            picker = await http.get(left.headers["location"])
            fields = world.hidden(picker.text) | {"user_id": "alice"}
            picked = await http.post("/tenants/a/fakeupstreamauth/redirect", data=fields)
            back = await http.get(picked.headers["location"])
        assert world.query(back.headers["location"])["iss"] == "http://localhost:3001/tenants/a"


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/register", "/token", "/revoke"])
async def test_browser_clients_of_any_origin_may_call_the_api(world: World, path: str) -> None:
    """AUTH.md row 7: the Inspector runs in a browser."""
    origin = {"Origin": "http://localhost:6274"}
    async with world.browser() as http:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "mcp-protocol-version"}
        preflight = await http.options(path, headers=origin | asked)
        answer = await (http.get(path, headers=origin) if "well-known" in path else http.post(path, headers=origin))

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/authorize", "/consent", "/fakeupstreamauth/authorize", "/upstream/callback"])
async def test_pages_are_not_readable_from_other_origins(world: World, path: str) -> None:
    async with world.browser() as http:
        response = await http.get(path, headers={"Origin": "https://evil.example"})

    assert "access-control-allow-origin" not in response.headers
