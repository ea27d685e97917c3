"""RFC 7591: anybody may register; what is kept is checked, replaced where we differ, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.conftest import MakeWorld, World

LOOPBACK = "http://127.0.0.1:1234/callback"
DEEP = b'{"redirect_uris": ["http://127.0.0.1/cb"], "jwks": {"keys": [{"x": %s}]}}' % (b"[" * 700 + b"]" * 700)


async def register(world: World, metadata: Any = None, **options: Any) -> Any:
    """A registration request."""
    async with world.browser() as http:
        return await http.post("/register", **(options or {"json": metadata}))


async def test_a_registration_answers_all_that_was_registered(world: World) -> None:
    """AUTH.md row 18."""
    response = await register(
        world,
        {
            "client_name": "Editor",
            "redirect_uris": [LOOPBACK, "https://editor.example/cb"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "response_types": ["code"],
            "scope": "mcp unheard-of",
            "software_id": "editor",
            "software_version": "1.2",
            "anything_else": {"is": "ignored"},
        },
    )

    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer.pop("client_id")
    assert answer.pop("registration_access_token")
    assert answer.pop("registration_client_uri").startswith("http://localhost:3001/register/")
    assert answer == {
        "client_name": "Editor",
        "redirect_uris": [LOOPBACK, "https://editor.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
        "scope": "mcp",
        "software_id": "editor",
        "software_version": "1.2",
        "client_id_issued_at": 1_800_000_000,
    }


async def test_a_client_that_says_nothing_about_authentication_gets_a_secret(world: World) -> None:
    answer = (await register(world, {"redirect_uris": [LOOPBACK]})).json()

    assert answer["token_endpoint_auth_method"] == "client_secret_basic"
    assert len(answer["client_secret"]) >= 43
    assert answer["client_secret_expires_at"] == 0


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb",
        "https://app.example:8443/cb?tenant=1",
        "http://localhost/cb",
        "http://127.0.0.1:9/cb",
        "http://[::1]:9/cb",
        "com.example.app:/oauth",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://publisher.extension/cb",
        "http://app.localhost:5173/cb",
        "vscode-insiders://publisher.extension/cb",
        "windsurf://oauth",
        "warp://mcp/oauth2callback",
        "com.raycast:/oauth",
        "com.googleusercontent.apps.123-abc:/oauth2",
    ],
)
async def test_these_redirects_may_be_registered(world: World, uri: str) -> None:
    """AUTH.md row 14."""
    assert (await register(world, {"redirect_uris": [uri]})).json()["redirect_uris"] == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/cb",
        "http://localhost.evil/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost@evil.example/cb",
        "http://evil.example%2f.localhost/cb",
        "http://evil.example;.localhost/cb",
        "http://evil_.localhost/cb",
        "https://user:pw@app.example/cb",
        "https://app.example/cb#fragment",
        "https://app.example/cb#",
        "https://app.example/a/../cb",
        "https://app.example/a/%2e%2E/cb",
        "https://app.example\\@evil.example/cb",
        "https:///cb",
        "https://app.example:port/cb",
        "https://app.example:99999/cb",
        "https://[::1/cb",
        "https://app_.exa mple/cb",
        "javascript:alert(1)",
        "JavaScript://x/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://app.example/1",
        "ftp://app.example/cb",
        "HTTP://app.example/cb",
        "/callback",
        "//app.example/cb",
        "",
        "com.example.app:",
        "app:/callback",
        "smb://evil.example/share",
        "ms-msdt:/id",
        "search-ms:query=x",
        "ms-settings:",
        "livescript:alert(1)",
        "mocha:x",
        "callto:x",
        "ldap://evil.example/x",
        "ssh://evil.example/",
        "gopher://evil.example/",
        "x-apple.systempreferences:x",
        "chrome-extension://abcdefgh/cb",
        "moz-extension://abcdefgh/cb",
        "app..example:/cb",
        ".example:/cb",
        "https://app.example/\r\nLocation: https://evil.example",
        "https://app.example/\u202e",
        "https://app.example/" + "x" * 2000,
    ],
)
async def test_these_redirects_may_not(world: World, uri: str) -> None:
    """AUTH.md row 14."""
    response = await register(world, {"redirect_uris": [LOOPBACK, uri]})

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_redirect_uri"


@pytest.mark.parametrize("uri", [LOOPBACK, "com.example.app:/oauth", "https://localhost/cb"])
async def test_a_web_application_is_reached_by_https_and_not_on_loopback(world: World, uri: str) -> None:
    """AUTH.md row 18."""
    response = await register(world, {"redirect_uris": [uri], "application_type": "web"})

    assert response.json()["error"] == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"grant_types": ["password"]},
        {"grant_types": "authorization_code"},
        {"response_types": ["token"]},
        {"client_name": {"en": "x"}},
        {"application_type": "spy"},
        {"scope": ["mcp"]},
        {"jwks": {"keys": []}, "jwks_uri": "https://a.example/jwks"},
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"jwks": {"keys": [{"kty": "EC", "d": "private"}]}},
        {"jwks": "no"},
        {"jwks_uri": "http://app.example/jwks"},
        {"jwks_uri": "javascript:alert(1)"},
    ],
)
async def test_metadata_that_makes_no_sense_is_refused(world: World, changes: dict[str, Any]) -> None:
    response = await register(world, {"redirect_uris": [LOOPBACK]} | changes)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize(
    "options",
    [
        {"content": b"not json"},
        {"content": b""},
        {"content": b"\xff\xfe"},
        {"content": b"[" * 50_000},
        {"content": b'{"redirect_uris": ["http://127.0.0.1/cb"], "jwks": {"keys": [{"x": NaN}]}}'},
        {"content": b'{"redirect_uris": ["http://127.0.0.1/cb"], "jwks": {"keys": [{"x": -Infinity}]}}'},
        {"content": b'{"redirect_uris": ["http://127.0.0.1/cb"], "jwks": {"keys": [{"x": 1e999}]}}'},
        {"content": b'{"redirect_uris": ["http://127.0.0.1/cb"], "jwks": {"keys": [{"x": "\\ud800"}]}}'},
        {"content": b'{"redirect_uris": ["http://127.0.0.1/cb"], "client_name": "\\udfff"}'},
        {"content": DEEP},
        {"json": []},
        {"json": None, "content": b"null"},
        {"json": "text"},
    ],
)
async def test_a_body_that_is_no_object_is_refused(world: World, options: dict[str, Any]) -> None:
    response = await register(world, **{name: value for name, value in options.items() if value is not None})

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_client_metadata"
    assert await world.redis.keys("auth:client:*") == [], "nothing is kept that cannot be answered"


async def test_a_body_that_is_too_large_is_refused(world: World) -> None:
    assert (await register(world, content=b"x" * 70_000)).status_code == 413


@pytest.mark.parametrize("redirects", [None, [], [LOOPBACK] * 21, [7]])
async def test_there_are_one_to_twenty_redirects(world: World, redirects: Any) -> None:
    response = await register(world, {"redirect_uris": redirects})

    assert response.status_code == 400


async def test_a_registration_lives_thirty_days_from_its_last_use(world: World) -> None:
    """AUTH.md row 18."""
    client = await world.register()
    key = f"auth:client:{client['client_id']}"
    await world.redis.pexpire(key, 5_000)

    async with world.browser() as http:
        await http.get("/authorize", params=world.question(client, world.pkce()))

    assert await world.redis.pttl(key) > 29.9 * 86_400_000


async def test_registrations_nobody_consented_to_are_bounded_and_used_ones_stay(make_world: MakeWorld) -> None:
    """AUTH.md row 18: registration spam does not fill the store, nor push out what is in use."""
    world = make_world(max_unused_clients=3)
    used = await world.register()
    await world.tokens(used)
    unused = []
    for _ in range(5):
        world.clock.pass_(1)
        unused.append(await world.register())

    alive = [await world.redis.exists(f"auth:client:{client['client_id']}") for client in [used, *unused]]

    assert alive == [1, 0, 0, 1, 1, 1]


async def test_secrets_are_kept_as_hmacs_only(world: World) -> None:
    """AUTH.md row 27."""
    answer = (await register(world, {"redirect_uris": [LOOPBACK]})).json()

    stored = await world.redis.get(f"auth:client:{answer['client_id']}")

    assert answer["client_secret"] not in stored
    assert answer["registration_access_token"] not in stored


@pytest.mark.parametrize(
    "name",
    [
        "\u3164",
        "\u2800\u2800",
        "\u115f\u1160\uffa0",
        "\u200b\u200c\u200d\u2060\ufeff",
        "\u202e\u2066\u061c\u200f",
        "\U000e0041\U000e0042\U000e007f",
        "\u034f\u17b4\u180b\ufe0f",
        "\u0301\u0302",
        "\U000e0100\ufe00",
        "\u00ad\u3000\u00a0\u2003",
        "\u2028\u2029",
        "\U0001d159\U00016fe4\U00013441",
        "\ufff0\ufff9\ufffb",
        "\U0001bca0\U0001d173",
        "\x1b[31m\x07",
    ],
)
async def test_a_name_of_which_nothing_is_seen_is_no_name(world: World, name: str) -> None:
    client = await world.register(client_name=name)
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce()))

    assert "client_name" not in client
    assert "An application without a name" in page.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Claude\u3164\u2800", "Claude"),
        ("Cla\U000e0041\u00adude", "Claude"),
        ("  two\n\u2028lines ", "two lines"),
        ("\u0646\u0645\u06cc\u200c\u062f", "\u0646\u0645\u06cc\u200c\u062f"),
        ("Gro\u0308ße", "Gro\u0308ße"),
    ],
)
async def test_what_is_seen_of_a_name_is_kept(world: World, name: str, shown: str) -> None:
    assert (await world.register(client_name=name))["client_name"] == shown


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("https://app.example/about", "https://app.example/about"),
        ("https://example.com/#/about", "https://example.com/#/about"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("https://例え.jp/", None),
        ("example.com", None),
        ("javascript:alert(1)", None),
        ("https://real.example@evil.example/", None),
        ("https://evil.example\\@real.example/", None),
        ("https://app.example:port/", None),
        ("https://[::1/", None),
        ("https://" + "x" * 3000, None),
    ],
)
async def test_an_address_that_is_only_shown_to_people_is_left_out_when_it_cannot_be_shown(
    world: World, uri: str, kept: str | None
) -> None:
    assert (await world.register(client_uri=uri)).get("client_uri") == kept
