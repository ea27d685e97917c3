"""Parameters, scopes and resources that two readers would read differently."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from auth_server import StaticClient
from tests.auth.conftest import MakeWorld, World

pytestmark = pytest.mark.parametrize("redis", ["memory"], indirect=True)

FORM = "application/x-www-form-urlencoded"
EVIL = "https://evil.example/cb"


@pytest.mark.parametrize(
    "smuggled",
    [
        "redirect_uri[]=https://evil.example/cb",
        "redirect_uri%00=https://evil.example/cb",
        "REDIRECT_URI=https://evil.example/cb",
        "%20redirect_uri=https://evil.example/cb",
        "x=1;redirect_uri=https://evil.example/cb",
        "redirect_uri=https://evil.example/cb",
        "client%5Fid=other",
    ],
)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_second_redirect_by_another_spelling_is_never_followed(world: World, smuggled: str, side: str) -> None:
    client = await world.register()
    plain = urlencode(world.question(client, world.pkce()))
    async with world.browser() as http:
        page = await http.get(
            f"/authorize?{smuggled}&{plain}" if side == "before" else f"/authorize?{plain}&{smuggled}"
        )

    assert "location" not in page.headers
    assert "evil" not in page.text
    assert page.status_code == (400 if smuggled.startswith(("redirect_uri=", "client%5Fid")) else 200)


async def test_what_a_posted_request_says_is_in_its_body_alone(world: World) -> None:
    """The query of a POST stays in logs and histories, and other readers may prefer it."""
    client = await world.register()
    asked = world.question(client, world.pkce())
    async with world.browser() as http:
        both = await http.post(f"/authorize?{urlencode({'redirect_uri': EVIL, 'scope': 'admin'})}", data=asked)
        query_only = await http.post(f"/authorize?{urlencode(asked)}", data={"x": "1"})

    assert both.status_code == 200
    assert "Administration" not in both.text
    assert query_only.status_code == 400


async def test_a_code_in_the_query_of_the_token_endpoint_is_not_looked_at(world: World) -> None:
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
        sent = {"grant_type": "authorization_code", "client_id": client["client_id"], "code_verifier": pkce.verifier}
        by_get = await http.get("/token", params=sent | {"code": back["code"]})
        by_query = await http.post(f"/token?{urlencode({'code': back['code']})}", data=sent)

    assert by_get.status_code == 405
    assert by_query.json() == {"error": "invalid_request", "error_description": "code is missing"}
    assert (await world.redeem(client, back["code"], pkce)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps({"grant_type": "client_credentials"}).encode()),
        (f"{FORM}; charset=utf-16", "grant_type=client_credentials".encode("utf-16")),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\na\r\n--x--',
        ),
        (f"text/plain, {FORM}", b"grant_type=client_credentials"),
        ("", b"grant_type=client_credentials"),
    ],
)
async def test_a_body_that_is_no_plain_form_is_not_guessed_at(world: World, kind: str, body: bytes) -> None:
    async with world.browser() as http:
        answer = await http.post("/token", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_two_authorization_headers_are_refused_and_neither_is_chosen(make_world: MakeWorld) -> None:
    """A proxy may have looked at the other one."""
    world = make_world(clients=(StaticClient(id="job", secret="s" * 32, scope="mcp"),))
    right, wrong = (f"Basic {base64.b64encode(f'job:{secret}'.encode()).decode()}" for secret in ("s" * 32, "x"))
    async with world.browser() as http:
        once = await http.post("/token", data={"grant_type": "client_credentials"}, headers={"Authorization": right})
        for pair in ((right, wrong), (wrong, right), (right, right)):
            headers = [("Authorization", value) for value in pair]
            twice = await http.post("/token", data={"grant_type": "client_credentials"}, headers=headers)
            assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    assert once.status_code == 200


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_method_is_what_it_is(world: World, header: str) -> None:
    async with world.browser() as http:
        fields = await world.at_consent(http)
        got = await http.get(
            "/consent", params=fields | {"decision": "allow", "_method": "POST"}, headers={header: "POST"}
        )
        rightful = await http.post("/consent", data=fields | {"decision": "allow"})
    assert (got.status_code, rightful.status_code) == (405, 303)


@pytest.mark.parametrize(
    "scope",
    [
        "mcp\tadmin",
        "mcp\nadmin",
        "mcp\u00a0admin",
        "mcp\x00",
        "MCP",
        "mcp,admin",
        "\uff4d\uff43\uff50",
        "mcp/../admin",
        "*",
    ],
)
async def test_a_scope_is_a_whole_word_of_ours_or_nothing(world: World, scope: str) -> None:
    async with world.browser() as http:
        back = await http.get("/authorize", params=world.question(await world.register(), world.pkce(), scope=scope))
    assert world.query(back.headers["location"])["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("openid profile email mcp", "mcp"),
        ("mcp:tools read write", "mcp:tools"),
        ("openid profile email address phone offline_access", "mcp"),
        ("openid", "mcp"),
    ],
)
async def test_scopes_that_do_not_exist_here_are_left_out_and_the_answer_says_what_was_granted(
    world: World, asked: str, granted: str
) -> None:
    assert (await world.tokens(scope=asked))["scope"] == granted


@pytest.mark.parametrize(
    "resource",
    [
        "HTTP://LOCALHOST:3232/mcp",
        "http://Localhost:3232/mcp/",
        "http://localhost:3232/mcp?preset=web",
        "HTTP://LOCALHOST:3232/mcp?preset=web&tags=docs,!danger",
        "http://localhost:3232/mcp?tags=",
        "http://localhost:3232",
        "http://localhost:3232/",
    ],
)
async def test_a_resource_by_another_spelling_of_its_own_is_the_resource(world: World, resource: str) -> None:
    """MCP, Authorization, "Canonical Server URI"; the audience is the resource as it is configured."""
    tokens = await world.tokens(resource=resource)

    assert (await world.claims(tokens["access_token"]))["aud"] == world.settings.resources[0]


async def test_a_default_port_makes_no_difference_and_another_resource_of_the_same_host_does(
    make_world: MakeWorld,
) -> None:
    mcp, sse = "https://mcp.example/mcp", "https://mcp.example:443/sse"
    world = make_world(resources=(mcp, sse))
    for asked, meant in (("https://MCP.example:443/mcp", mcp), ("https://mcp.example/sse/", sse)):
        tokens = await world.tokens(resource=asked)
        assert (await world.claims(tokens["access_token"]))["aud"] == meant
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        code = (await world.authorize(http, client, pkce, resource=mcp))["code"]
    assert (await world.redeem(client, code, pkce, resource=sse)).json()["error"] == "invalid_target"


@pytest.mark.parametrize(
    "resource",
    [
        "http://localhost:3232/?preset=web",
        "http://localhost:3232/mcp?preset=web&x=1",
        "http://localhost:3232/mcp?",
        "http://localhost:3233/",
        "ftp://localhost:3232/mcp",
        "http://localhost:3232/mcp/../admin",
        "http://localhost:3232/MCP",
        "http://localhost:3232/mcp?x",
        "http://localhost:3232/mcp#",
        "http://localhost:3232/mcp//",
        "http://someone@localhost:3232/mcp",
        "http://localhost:3232/mc%70",
        "http://127.0.0.1:3232/mcp",
        "https://localhost:3232/mcp",
        "/mcp",
    ],
)
async def test_a_resource_is_one_of_ours_or_nothing(world: World, resource: str) -> None:
    async with world.browser() as http:
        asked = world.question(await world.register(), world.pkce(), resource=resource)
        back = await http.get("/authorize", params=asked)
    assert world.query(back.headers["location"])["error"] == "invalid_target"


@pytest.mark.parametrize("method", ["s256", "S256 ", "S512", "plain", "none", "S256,plain"])
async def test_a_challenge_cannot_be_downgraded_by_the_name_of_its_method(world: World, method: str) -> None:
    asked = world.question(await world.register(), world.pkce(), code_challenge_method=method)
    async with world.browser() as http:
        back = await http.get("/authorize", params=asked)
    assert world.query(back.headers["location"])["error"] == "invalid_request"


async def test_a_challenge_cannot_be_changed_at_the_token_endpoint(world: World) -> None:
    """Downgrade: the verifier is the challenge itself, and the method is said to be plain."""
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
    plain = {"code_verifier": pkce.challenge, "code_challenge_method": "plain", "code_challenge": pkce.challenge}
    assert (await world.redeem(client, back["code"], pkce, **plain)).json()["error"] == "invalid_grant"
