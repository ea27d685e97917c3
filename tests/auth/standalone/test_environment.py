"""The standalone process: its settings, and that it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from auth_server import AuthorizationServer, AuthSettings
from auth_server.environment import read
from auth_server.http.standalone_middleware import StandaloneMiddleware, own_hosts
from auth_server.quotas import QUOTAS
from auth_server.settings import GithubSettings, OidcSettings
from switchboard.common.shared_settings import EXAMPLE_KEY
from switchboard.errors import ConfigurationError
from tools.fleet.children import Child, answers, free_port, start

KEY = "k" * 32


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables of whoever runs the tests."""
    for name in ("HOST", "PORT", "BASE_URI", "REDIS_URL", "SECRET_KEY", "AUTH_SERVER_URL", "AUTH_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_it_serves_the_server_beside_it_on_loopback() -> None:
    found = read(None)

    assert (found.listens_on, found.auth_server_port, found.redis_url) == ("127.0.0.1", 3001, None)
    assert found.auth.issuer == "http://localhost:3001"
    assert found.auth.resources == ("http://localhost:3232/mcp", "http://localhost:3232/sse")


def test_lists_are_commas_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", f"{KEY}1,{KEY}2")
    monkeypatch.setenv("RESOURCE_URLS", '["https://a.example/mcp", "https://b.example/mcp"]')

    found = read(None)

    assert found.auth.secret_keys == (f"{KEY}1", f"{KEY}2")
    assert found.auth.resources == ("https://a.example/mcp", "https://b.example/mcp")


def test_the_administrator_of_the_fake_provider_is_the_user_admin_and_elsewhere_nobody_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert read(None).auth.admins == ("admin",)
    assert read(None, admins=("alice",)).auth.admins == ("alice",)
    assert read(None, allow_fake_idp=True).auth.admins == ()
    monkeypatch.setenv("AUTH_SERVER_URL", "https://auth.example")
    assert read(None, allow_fake_idp=True).auth.admins == ()
    github = {"upstream": "github", "upstream_client_id": "i", "upstream_client_secret": "s"}
    assert read(None, **github).auth.admins == ()


def test_scopes_of_ones_own_can_be_granted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTRA_SCOPES", "payments:write, mcp")
    known = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", "admin:read", "admin")
    assert read(None).auth.scopes == (*known, "payments:write")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUTH_SERVER_PORT": "70000"}, "AUTH_SERVER_PORT"),
        ({"SECRET_KEY": "hunter2"}, "SECRET_KEY"),
        ({"REDIS_URL": "redis://:hunter2@localhost"}, "SECRET_KEY"),
        ({"AUTH_SERVER_URL": "ftp://x"}, "issuer"),
        ({"UPSTREAM": "oidc"}, "UPSTREAM_CLIENT_ID"),
        ({"UPSTREAM": "saml"}, "UPSTREAM"),
        ({"AUTH_CLIENTS": '[{"name": "no id"}]'}, "AUTH_CLIENTS"),
        ({"TRUSTED_PROXIES": "somewhere"}, "TRUSTED_PROXIES"),
        ({"EXTRA_SCOPES": 'a"b'}, "EXTRA_SCOPES"),
        ({"ALLOWED_HOSTS": "https://login.example"}, "ALLOWED_HOSTS"),
        ({"SECRET_KEY": EXAMPLE_KEY + "-0123456789", "BASE_URI": "https://mcp.example"}, "SECRET_KEY"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it_and_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as caught:
        read(None)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_name_below_localhost_is_this_computer_for_every_part_of_the_settings() -> None:
    found = read(None, auth_server_url="http://mcp.localhost:3001", base_uri="http://mcp.localhost:3232")
    server = AuthorizationServer(found.auth, FakeAsyncRedis(server=FakeServer(), decode_responses=True))
    assert server.settings.issuer == "http://mcp.localhost:3001"


def test_an_upstream_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CLIENT_ID": "i", "CLIENT_SECRET": "s", "ISSUER": "https://sso.example/"}.items():
        monkeypatch.setenv(f"UPSTREAM_{name}", value)
    monkeypatch.setenv("UPSTREAM_GROUP_SCOPES", '{"*": ["mcp"]}')
    monkeypatch.setenv("UPSTREAM", "oidc")
    provider = read(None).auth.upstream
    monkeypatch.setenv("UPSTREAM", "github")

    assert isinstance(provider, OidcSettings)
    assert (provider.issuer, provider.group_scopes) == ("https://sso.example/", {"*": ("mcp",)})
    assert isinstance(read(None).auth.upstream, GithubSettings)


def launch(folder: Path, **variables: str) -> Child:
    """`python -m auth_server`, with these variables and no `.env`."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return start("auth-server", [sys.executable, "-m", "auth_server"], folder, env | variables)


def test_the_process_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    child = launch(tmp_path, AUTH_SERVER_PORT=str(port), SECRET_KEY=KEY)
    try:
        child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
        address = f"http://127.0.0.1:{port}/.well-known/oauth-authorization-server"
        document = httpx2.get(address, trust_env=False).json()
    finally:
        code = child.stop()

    assert code == 0, "leaving when told to is no failure"
    assert document["issuer"] == f"http://localhost:{port}"
    assert KEY not in child.log.read_text()


def test_a_wrong_setting_ends_start_up_with_one_line(tmp_path: Path) -> None:
    child = launch(tmp_path, AUTH_SERVER_URL="https://auth.example")

    assert child.process.wait(120) == 2
    said = child.log.read_text()
    assert said.strip().splitlines()[-1].startswith("auth_server: issuer: 'https://auth.example' is not loopback")
    assert "Traceback" not in said


@pytest.mark.parametrize(("proxies", "other"), [("127.0.0.1", 401), ("", 429)])
def test_limits_count_the_address_behind_a_trusted_proxy_and_believe_nobody_else(
    tmp_path: Path, proxies: str, other: int
) -> None:
    port = free_port()
    child = launch(tmp_path, AUTH_SERVER_PORT=str(port), SECRET_KEY=KEY, TRUSTED_PROXIES=proxies)
    try:
        child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            def guess(address: str) -> int:
                sent = {"X-Forwarded-For": address}
                return http.post("/introspect", data={"token": "x"}, auth=("job", "guess"), headers=sent).status_code

            answered = (guess("192.0.2.1") for _ in range(QUOTAS["guess"].limit * 3))  # some come back meanwhile
            assert 429 in answered
            assert guess("198.51.100.1") == other
    finally:
        child.stop()


@pytest.mark.parametrize(
    ("issuer", "host", "status"),
    [
        ("http://localhost:3001", "localhost:3001", 200),
        ("http://localhost:3001", "127.0.0.1:3001", 200),
        ("http://localhost:3001", "evil.example", 421),
        ("http://localhost:3001", "localhost.evil.example:3001", 421),
        ("https://login.example/tenant", "login.example", 200),
        ("https://login.example/tenant", "LOGIN.example.:443", 200),
        ("https://login.example/tenant", "127.0.0.1:3001", 421),
        ("https://login.example/tenant", "internal:3001", 200),
        ("https://login.example/tenant", "", 421),
    ],
)
async def test_alone_it_answers_for_its_own_host_and_for_those_that_are_allowed(
    issuer: str, host: str, status: int
) -> None:
    settings = AuthSettings(
        issuer=issuer, resources=("http://localhost:3232/mcp",), secret_keys=(KEY,), allow_fake_idp=True
    )
    redis: Any = FakeAsyncRedis(server=FakeServer(), decode_responses=True)
    hosts = (*own_hosts(settings, "0.0.0.0"), "internal")  # noqa: S104
    app = StandaloneMiddleware(AuthorizationServer(settings, redis).app(), settings, hosts)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=settings.base) as http:
        answers = [
            await http.get(path, headers={"Host": host}) for path in ("/jwks", "/.well-known/openid-configuration")
        ]
        asked = await http.post("/introspect", data={"token": "x"}, headers={"Host": host})
        alive = await http.get("/healthz", headers={"Host": host})
    await redis.aclose()

    assert [answer.status_code for answer in answers] == [status, status]
    assert (asked.status_code, alive.status_code) == (401, 200), "by whatever name the network has for it"


def test_alone_it_says_that_it_lives_and_protects_what_it_answers(tmp_path: Path) -> None:
    port = free_port()
    child = launch(tmp_path, AUTH_SERVER_PORT=str(port), SECRET_KEY=KEY, ALLOWED_HOSTS="other.example")
    try:
        child.wait_until(lambda: answers(port, "/healthz"), 120)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            found = {path: http.get(path) for path in ("/healthz", "/jwks", "/authorize", "/nowhere", "/grants")}
            foreign = http.get("/jwks", headers={"Host": "evil.example"})
            allowed = http.get("/jwks", headers={"Host": "other.example"})
    finally:
        child.stop()

    assert found["/healthz"].json() == {"status": "ok"}
    for answer in (*found.values(), foreign):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"]
        assert "strict-transport-security" not in answer.headers, "plain http (RFC 6797 section 7.2)"
    assert (foreign.status_code, allowed.status_code) == (421, 200)


@pytest.mark.parametrize("name", ["HOST", "AUTH_SERVER_HOST"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])  # noqa: S104
def test_the_fake_provider_is_not_reached_from_other_machines_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    monkeypatch.setenv(name, host)
    with pytest.raises(ConfigurationError, match="lets other machines in"):
        read(None)
    assert read(None, allow_fake_idp=True).listens_on == host
