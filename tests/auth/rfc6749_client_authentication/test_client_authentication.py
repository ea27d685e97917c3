"""RFC 6749 §2.3 and RFC 7523: none, basic, post, private_key_jwt; and machines that speak for themselves."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from auth_server import StaticClient
from auth_server.clients.authentication import basic
from auth_server.errors import InvalidClient
from tests.auth.conftest import MakeWorld, World

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
ISSUER = "http://localhost:3001"


async def code_of(world: World, client: dict[str, Any]) -> dict[str, Any]:
    """A token request for a fresh code, without any client authentication."""
    pkce = world.pkce()
    async with world.browser() as http:
        code = (await world.authorize(http, client, pkce))["code"]
    return {"grant_type": "authorization_code", "code": code, "code_verifier": pkce.verifier}


async def test_a_secret_is_taken_by_basic_or_post(world: World) -> None:
    """AUTH.md row 24."""
    client = await world.register(token_endpoint_auth_method="client_secret_basic")
    by_basic = await world.token(await code_of(world, client), auth=(client["client_id"], client["client_secret"]))
    posted = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
    by_post = await world.token(await code_of(world, client) | posted)

    assert (by_basic.status_code, by_post.status_code) == (200, 200)


async def test_basic_credentials_are_form_decoded(make_world: MakeWorld) -> None:
    """RFC 6749 §2.3.1."""
    machine = StaticClient(id="a machine", secret="p:w%&+", scope="mcp")
    world = make_world(clients=(machine,))
    raw = f"{quote_plus('a machine')}:{quote_plus('p:w%&+')}"

    response = await world.token(
        {"grant_type": "client_credentials"},
        headers={"Authorization": "Basic " + base64.b64encode(raw.encode()).decode()},
    )

    assert response.status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", None])
async def test_without_the_right_secret_the_answer_is_401_with_a_challenge(world: World, secret: str | None) -> None:
    """AUTH.md row 24."""
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    sent = await code_of(world, client) | {"client_id": client["client_id"]}
    response = await world.token(sent | ({} if secret is None else {"client_secret": secret}))

    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert response.headers["www-authenticate"].startswith("Basic")


async def test_an_unknown_client_is_401_invalid_client(world: World) -> None:
    """AUTH.md row 24."""
    response = await world.token({"grant_type": "authorization_code", "client_id": "nobody", "code": "x"})

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_a_public_client_that_sends_a_secret_is_not_itself(world: World) -> None:
    client = await world.register()
    sent = await code_of(world, client) | {"client_id": client["client_id"], "client_secret": "guess"}

    assert (await world.token(sent)).json()["error"] == "invalid_client"


async def test_two_ways_at_once_are_refused(world: World) -> None:
    """RFC 6749 §2.3: one method per request."""
    client = await world.register(token_endpoint_auth_method="client_secret_basic")
    pair = (client["client_id"], client["client_secret"])
    sent = await code_of(world, client) | {"client_id": pair[0], "client_secret": pair[1]}

    assert (await world.token(sent, auth=pair)).json()["error"] == "invalid_request"


@pytest.mark.parametrize("header", ["Bearer x", "Basic !!!", "Basic /w==", "Basic", ""])
async def test_a_header_that_is_no_basic_authentication_is_401(world: World, header: str) -> None:
    response = await world.token({"grant_type": "authorization_code"}, headers={"Authorization": header})

    assert response.status_code == 401


def test_a_header_that_is_not_ascii_is_no_basic_authentication() -> None:
    with pytest.raises(InvalidClient):
        basic("Basic \xff\xfe")


def assertion(client_id: str, key: Any = KEY, alg: str = "ES256", header: Any = None, **changes: Any) -> str:
    """A client assertion, good unless changed."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "exp": 1_800_000_060,
        "iat": 1_800_000_000,
        "jti": "one",
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jws.serialize_compact({"alg": alg, "kid": "k1"} | (header or {}), json.dumps(kept), key, algorithms=[alg])


async def signing_client(world: World) -> dict[str, Any]:
    """A client that authenticates with its key."""
    found: dict[str, Any] = await world.register(
        token_endpoint_auth_method="private_key_jwt", jwks={"keys": [KEY.as_dict(private=False)]}
    )
    return found


async def test_a_client_authenticates_with_its_key_and_each_assertion_counts_once(world: World) -> None:
    """AUTH.md row 24."""
    client = await signing_client(world)
    made = {"client_assertion_type": ASSERTION, "client_assertion": assertion(client["client_id"])}

    first = await world.token(await code_of(world, client) | made)
    replay = await world.token(await code_of(world, client) | made)

    assert first.status_code == 200
    assert (replay.status_code, replay.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"sub": "other"},
        {"aud": "http://localhost:3001/"},
        {"aud": ["http://localhost:3001", "https://other.example"]},
        {"aud": None},
        {"exp": 1_799_999_000},
        {"exp": 1_800_100_000},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"jti": "half a \ud800 pair"},
        {"iss": "\ud800", "sub": "\ud800"},
        {"nested": json.loads("[" * 700 + "]" * 700)},
        {"jti": None},
        {"nbf": 1_800_001_000},
        {"iat": 1_800_001_000},
        {"key": ECKey.generate_key("P-256")},
        {"key": RSAKey.generate_key(2048), "alg": "RS256"},
        {"header": {"jwk": ECKey.generate_key("P-256").as_dict(private=False)}, "key": ECKey.generate_key("P-256")},
    ],
)
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_assertion_that_is_not_quite_right_does_not_authenticate(
    world: World, changes: dict[str, Any]
) -> None:
    """AUTH.md row 24; attacks: another key, an own key in the header."""
    client = await signing_client(world)
    sent = await code_of(world, client) | {"client_assertion_type": ASSERTION}

    response = await world.token(sent | {"client_assertion": assertion(client["client_id"], **changes)})

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_an_assertion_that_nobody_signed_does_not_authenticate(world: World) -> None:
    """AUTH.md attacks: alg=none, HS256 with the public key."""
    client = await signing_client(world)
    _, claims, _ = assertion(client["client_id"]).split(".")
    unsigned = url64(b'{"alg":"none"}') + "." + claims
    symmetric = url64(b'{"alg":"HS256"}') + "." + claims
    mac = url64(hmac.digest(KEY.as_pem(private=False), symmetric.encode(), "sha256"))
    sent = await code_of(world, client) | {"client_assertion_type": ASSERTION}
    for forged in (f"{unsigned}.", f"{unsigned}.x", f"{symmetric}.{mac}", "x.y.z", "x"):
        assert (await world.token(sent | {"client_assertion": forged})).status_code == 401


MACHINE = StaticClient(id="machine", secret="machine secret", scope="mcp:tools admin")


async def test_a_machine_gets_a_token_for_itself_without_a_refresh_token(make_world: MakeWorld) -> None:
    """AUTH.md row 24."""
    world = make_world(clients=(MACHINE,))

    tokens = (await world.token({"grant_type": "client_credentials"}, auth=("machine", "machine secret"))).json()

    claims = await world.claims(tokens["access_token"])
    assert "refresh_token" not in tokens
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("client:machine", "machine", "mcp:tools admin")
    await world.server.revoke("client", "machine")
    assert await world.server.introspect_token(tokens["access_token"]) is None


async def test_a_machine_stays_within_its_scopes_and_resources(make_world: MakeWorld) -> None:
    world = make_world(clients=(MACHINE,))
    asked = {"grant_type": "client_credentials"}
    auth = ("machine", "machine secret")

    narrow = await world.token(asked | {"scope": "admin"}, auth=auth)
    wide = await world.token(asked | {"scope": "mcp"}, auth=auth)
    elsewhere = await world.token(asked | {"resource": "https://other.example"}, auth=auth)

    assert narrow.json()["scope"] == "admin"
    assert (wide.json()["error"], elsewhere.json()["error"]) == ("invalid_scope", "invalid_target")


async def test_nobody_can_register_as_a_machine(world: World) -> None:
    """AUTH.md row 24: only settings make machines."""
    client = await world.register(
        token_endpoint_auth_method="client_secret_post", grant_types=["authorization_code", "client_credentials"]
    )
    sent = {"grant_type": "client_credentials", "client_id": client["client_id"]}

    response = await world.token(sent | {"client_secret": client["client_secret"]})

    assert response.json()["error"] == "unauthorized_client"


async def test_a_person_cannot_be_called_like_a_machine(world: World) -> None:
    async with world.browser() as http:
        data = {"state": "s" * 43, "user_id": "client:machine"}
        assert (await http.post("/fakeupstreamauth/redirect", data=data)).status_code == 400
