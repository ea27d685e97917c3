"""Clients, hosts and tokens that say more than they may."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from switchboard.common.fetch.fetcher import Fetcher, FetchRefused
from tests.auth.conftest import MakeWorld, Site, World

pytestmark = pytest.mark.parametrize("redis", ["memory"], indirect=True)


async def test_a_registration_cannot_set_what_is_ours_to_set(world: World) -> None:
    """Mass assignment: members of the stored client, sent along."""
    ours = {
        "trusted": True,
        "id": "known",
        "client_id": "known",
        "secret_mac": "x",
        "manage_mac": "x",
        "issued_at": 1,
        "client_id_issued_at": 1,
        "client_secret": "chosen-by-the-client-0123456789",
        "registration_access_token": "chosen",
    }
    client = await world.register(**ours, scope="admin mcp", token_endpoint_auth_method="client_secret_post")

    assert client["client_id"].startswith("c_")
    assert client["client_id_issued_at"] != 1
    assert client["client_secret"] != ours["client_secret"]
    assert client["registration_access_token"] != "chosen"
    machine = {"grant_type": "client_credentials", "client_id": client["client_id"]}
    answer = await world.token(machine | {"client_secret": client["client_secret"]})
    assert answer.json()["error"] == "unauthorized_client"


async def test_what_a_registration_names_twice_is_one_thing_for_all(world: World) -> None:
    """JSON with a doubled member: what was checked must be what is kept."""
    body = '{"redirect_uris": ["http://127.0.0.1/cb"], "redirect_uris": ["javascript:alert(1)"]}'
    async with world.browser() as http:
        assert (await http.post("/register", content=body)).json()["error"] == "invalid_redirect_uri"
        swapped = body.replace("javascript:alert(1)", "x").replace("http://127.0.0.1/cb", "javascript:alert(1)")
        kept = await http.post("/register", content=swapped.replace('"x"', '"http://127.0.0.1/cb"'))
    assert kept.json()["redirect_uris"] == ["http://127.0.0.1/cb"]


async def test_one_clients_registration_token_does_not_open_anothers(world: World) -> None:
    one, other = await world.register(), await world.register()
    async with world.browser() as http:
        address = other["registration_client_uri"].removeprefix(world.settings.base)
        for method in ("GET", "PUT", "DELETE"):
            bearer = {"Authorization": f"Bearer {one['registration_access_token']}"}
            assert (await http.request(method, address, headers=bearer)).status_code == 401


async def test_a_confidential_clients_stolen_refresh_token_is_worth_nothing_without_its_secret(world: World) -> None:
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    secret = {"client_secret": client["client_secret"]}
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
    tokens = (await world.redeem(client, back["code"], pkce, **secret)).json()

    stolen = await world.refresh(client, tokens["refresh_token"])
    rightful = await world.refresh(client, tokens["refresh_token"], **secret)

    assert (stolen.status_code, stolen.json()["error"]) == (401, "invalid_client")
    assert rightful.status_code == 200, "the thief's attempt took nothing from the owner"


PRIVATE_KEY_JWT = {"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "private_key_jwt"}


async def authenticate_by_key_set(world: World, jwks_uri: str) -> int:
    """The status that a client gets which authenticates by a key set at an address."""
    client = await world.register(**PRIVATE_KEY_JWT, jwks_uri=jwks_uri)
    unsigned = "eyJhbGciOiJFUzI1NiJ9." + unpadded({"sub": client["client_id"]}) + ".AAAA"
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    sent = {"grant_type": "refresh_token", "client_assertion_type": kind, "client_assertion": unsigned}
    status: int = (await world.token(sent | {"refresh_token": "x"})).status_code
    return status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "app.example", "internal.example"])
async def test_a_clients_key_set_is_not_fetched_from_the_network_we_run_in(
    make_world: MakeWorld, site: Site, tmp_path: Path, host: str
) -> None:
    """SSRF by jwks_uri: registered by anybody, fetched when the client authenticates.

    The same site is asked when its address counts as public, so nothing else stands between.
    """

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    context.check_hostname = False
    address = f"https://{host}:{site.port}/jwks"

    refused = await authenticate_by_key_set(make_world(fetcher=Fetcher(resolve, context=context)), address)
    assert (refused, site.requests) == (503, [])
    everywhere = Fetcher(resolve, lambda _: True, context)
    await authenticate_by_key_set(make_world(fetcher=everywhere), address)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/jwks", "file:///etc/jwks", "https://someone@app.example/jwks", "https://[::1/jwks"]
)
async def test_a_key_set_is_registered_at_a_plain_https_address_only(world: World, address: str) -> None:
    async with world.browser() as http:
        answer = await http.post("/register", json=PRIVATE_KEY_JWT | {"jwks_uri": address})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


def unpadded(claims: dict[str, Any]) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


async def test_a_host_is_looked_up_once_and_the_address_that_was_checked_is_the_one_that_is_asked(
    make_world: MakeWorld, site: Site
) -> None:
    """DNS rebinding: public at the first look, ours at the second."""
    answers = iter([["203.0.113.1"], ["127.0.0.1"], ["127.0.0.1"]])
    looked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        looked.append(host)
        return next(answers)

    asked = asyncio.create_task(Fetcher(resolve, lambda address: address == "203.0.113.1").get(site.client_id, 5_000))
    with pytest.raises(FetchRefused):
        await asyncio.wait_for(asked, 60)
    assert looked == ["app.example"]
    assert site.requests == []


async def test_nothing_is_built_from_the_host_that_a_request_names(world: World) -> None:
    """The issuer is configured: a forged Host must not come back in metadata, links or redirects."""
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    client = await world.register()
    async with world.browser() as http:
        answers = [
            await http.get("/.well-known/oauth-authorization-server", headers=forged),
            await http.post("/register", json={"redirect_uris": ["http://127.0.0.1/cb"]}, headers=forged),
            await http.get("/authorize", params=world.question(client, world.pkce()), headers=forged),
            await http.get("/grants", headers=forged),
        ]
    for answer in answers:
        assert "evil.example" not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    "token",
    [
        "\u202e" * 20,
        "\uff41" * 69,
        "sba_" + "A" * 64 + "=",
        "sba_" + "A" * 65 + "\n",
        "sba_" + "é" * 65,
        "a.b",
        "..",
        "",
    ],
)
async def test_a_token_in_another_alphabet_is_no_token(world: World, token: str) -> None:
    assert await world.server.introspect_token(token) is None
    client = await world.register()
    answer = await world.refresh(client, token)
    assert answer.json()["error"] in ("invalid_grant", "invalid_request")


async def test_a_tag_or_a_family_that_was_exchanged_is_noticed(world: World) -> None:
    """Tokens of two consents, put together anew."""
    one, two = await world.tokens(), await world.tokens()
    a, b = one["access_token"], two["access_token"]
    for forged in (a[:26] + b[26:], b[:26] + a[26:], "sbr_" + a[4:], a[:-1] + ("A" if a[-1] != "A" else "B")):
        assert await world.server.introspect_token(forged) is None
    assert await world.server.introspect_token(a)
