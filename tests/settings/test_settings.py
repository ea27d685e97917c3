from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from switchboard.errors import ConfigurationError
from switchboard.settings import Settings, load_settings

KEY = "k" * 16 + "0123456789abcdef"
OTHER_KEY = "o" * 16 + "0123456789abcdef"
SEPARATE = Path(__file__).parents[2] / ".env.separate"


def test_nothing_set_serves_integrated_authorization_from_memory_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.base_uri) == ("127.0.0.1", 3232, "http://localhost:3232")
    assert settings.mcp_url == "http://localhost:3232/mcp"
    assert settings.state_url is None
    assert settings.auth_mode == "integrated"


def test_the_base_uri_follows_the_port_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "4000")
    assert load_settings().base_uri == "http://localhost:4000"
    monkeypatch.setenv("BASE_URI", "http://127.0.0.1:80/sub/")
    assert load_settings().mcp_url == "http://127.0.0.1:80/sub/mcp"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nSESSION_TTL=11\nREDIS_PREFIX=file:\nUNKNOWN=ignored\n")
    monkeypatch.setenv("PORT", "2222")
    monkeypatch.setenv("SESSION_TTL", "22")
    settings = load_settings(port=3333)
    assert (settings.port, settings.session_ttl, settings.redis_prefix) == (3333, 22, "file:")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("REDIS_URL", "")
    assert load_settings().port == 3232


@pytest.mark.parametrize("written", ["a.example, *.b.example:8080", '["a.example", "*.b.example:8080"]'])
def test_lists_are_comma_separated_or_json(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", written)
    assert load_settings().allowed_hosts == ("a.example", "*.b.example:8080")


def test_proxies_are_addresses_or_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1, 10.1.2.3/8,::1")
    assert load_settings().trusted_proxies == (
        ip_network("127.0.0.1/32"),
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_without_redis_a_key_is_made_for_this_process_alone() -> None:
    first, second = load_settings().key_ring, load_settings().key_ring
    assert len(first) == 1
    assert len(first[0].encode()) >= 32
    assert first != second


def test_keys_are_kept_in_order_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", f"{KEY},{OTHER_KEY}")
    assert load_settings().key_ring == (KEY, OTHER_KEY)


def test_memory_may_be_named_as_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    settings = load_settings()
    assert settings.state_url is None
    assert len(settings.key_ring) == 1


def refused(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """The message with which `environment` is refused."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "99999", "65535"),
        ("PORT", "http", "must be a whole number"),
        ("AUTH_MODE", "oauth", "must be one of 'integrated', 'separate', 'none'"),
        ("LOG_LEVEL", "loud", "debug"),
        ("BASE_URI", "localhost:3232", "http or https URL"),
        ("BASE_URI", "https://user@host", "without user"),
        ("BASE_URI", "https://a.example/{tenant}", "letters, digits"),
        ("BASE_URI", "https://a.example/a//b", "no empty parts"),
        ("BASE_URI", "https://a.example/../b", "letters, digits"),
        ("ALLOWED_HOSTS", "https://a.example", "host name"),
        ("ALLOWED_ORIGINS", "a.example", "https://app.example.com"),
        ("ALLOWED_HOSTS", "[unfinished", "JSON array"),
        ("TRUSTED_PROXIES", "proxy.example", "networks"),
        ("SESSION_TTL", "0", "must be at least 1 (seconds an idle session lives"),
        ("REDIS_PREFIX", "a{b}", "braces"),
        ("ALLOW_FAKE_IDP", "perhaps", "must be true or false"),
        ("MAX_LOOP_LAG", "nan", "must be"),
        ("SCOPE_MAP", "[]", "must be an object: name and value"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_the_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    message = refused(monkeypatch, **{name: value})
    assert message.startswith(f"{name} is ")
    assert value in message
    assert allowed in message
    assert not re.search("; [A-Z_]+ is ", message), "one wrong value is said once"
    assert not re.search("(?i)pydantic|input should|valid tuple|valid dictionary", message)


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, PORT="0", AUTH_MODE="oauth")
    assert "PORT is " in message
    assert "AUTH_MODE is " in message


def test_a_short_key_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, SECRET_KEY=f"{KEY},sesame")
    assert "SECRET_KEY is " in message
    assert "32 bytes" in message
    assert "token_urlsafe" in message
    assert "sesame" not in message
    assert KEY not in message


def test_the_key_of_the_example_files_is_for_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    example = dict(line.split("=", 1) for line in SEPARATE.read_text().splitlines() if line[:1].isupper())["SECRET_KEY"]
    monkeypatch.setenv("SECRET_KEY", example)
    assert load_settings().key_ring == (example,)
    monkeypatch.setenv("ALLOW_FAKE_IDP", "true")
    message = refused(monkeypatch, BASE_URI="https://mcp.example.com")
    assert "everybody knows" in message
    assert example not in message


def test_a_password_in_a_wrong_redis_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, REDIS_URL="http://user:sesame@redis:6379/0")
    assert "REDIS_URL is http://…" in message
    assert "redis://" in message
    assert "sesame" not in message


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", KEY)
    monkeypatch.setenv("REDIS_URL", "redis://user:sesame@redis:6379/0")
    shown = repr(load_settings())
    assert KEY not in shown
    assert "sesame" not in shown


def test_redis_without_a_key_is_refused_and_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, REDIS_URL="redis://127.0.0.1:6379/0")
    assert "SECRET_KEY is not set" in message
    assert "token_urlsafe(32)" in message


def test_several_workers_on_memory_are_refused_and_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, WORKERS="2")
    assert "memory://" in message
    assert "REDIS_URL" in message
    assert "WORKERS=1" in message


def test_separate_mode_needs_an_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "AUTH_SERVER_URL is not set" in refused(monkeypatch, AUTH_MODE="separate")
    monkeypatch.setenv("AUTH_SERVER_URL", "https://tenant.auth.example/")
    assert load_settings().auth_server_url == "https://tenant.auth.example/"


@pytest.mark.parametrize("beyond", [{"HOST": "0.0.0.0"}, {"HOST": "::"}, {"BASE_URI": "https://mcp.example.com"}])  # noqa: S104
def test_no_authorization_is_refused_beyond_this_machine_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, beyond: dict[str, str]
) -> None:
    assert "ALLOW_INSECURE_NO_AUTH" in refused(monkeypatch, AUTH_MODE="none", **beyond)
    monkeypatch.setenv("ALLOW_INSECURE_NO_AUTH", "true")
    assert load_settings().auth_mode == "none"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1"])
def test_no_authorization_is_allowed_on_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("AUTH_MODE", "none")
    monkeypatch.setenv("HOST", host)
    assert load_settings().is_local


def test_the_fake_identity_provider_does_not_serve_the_public_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ALLOW_FAKE_IDP" in refused(monkeypatch, BASE_URI="https://mcp.example.com")
    monkeypatch.setenv("ALLOW_FAKE_IDP", "true")
    assert load_settings().base_uri == "https://mcp.example.com"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])  # noqa: S104
def test_the_fake_identity_provider_is_not_reached_from_other_machines_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    assert f"HOST={host} lets other machines in" in refused(monkeypatch, HOST=host)
    monkeypatch.setenv("ALLOW_FAKE_IDP", "true")  # as in a container whose port is published on loopback
    assert load_settings().host == host
    monkeypatch.setenv("ALLOW_FAKE_IDP", "false")
    monkeypatch.setenv("AUTH_MODE", "separate")
    monkeypatch.setenv("AUTH_SERVER_URL", "https://login.example")
    assert load_settings().host == host


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
