"""The vault as the settings name it, and what is said of one that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from switchboard.app import build
from switchboard.errors import ConfigurationError, StateUnavailable, VaultUnavailable
from switchboard.settings import Settings, load_settings
from switchboard.vault import Cipher, RecordKey
from switchboard.vault.location import Location, location
from switchboard.vault_settings import vault_settings
from tools.fleet.children import free_port

KEY, OTHER, SECRET_KEY = "k" * 32, "o" * 32, "s" * 32
HERS = RecordKey("server:github", "oauth", '["i", "alice"]')


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("redis", Location("redis")),
        ("file:/var/lib/a?b", Location("file", "/var/lib/a?b")),
        ("aws:", Location("aws", "switchboard")),
        ("aws:my/team?region=eu-central-1", Location("aws", "my/team", {"region": "eu-central-1"})),
        ("azure:https://a.vault.azure.net", Location("azure", "https://a.vault.azure.net", {"prefix": "switchboard"})),
        ("azure:https://a.vault.azure.net/?prefix=b", Location("azure", "https://a.vault.azure.net", {"prefix": "b"})),
        ("hashicorp:https://v:8200/kv/a/b", Location("hashicorp", "https://v:8200/kv/a/b")),
        ("hashicorp:http://127.0.0.1:8200/kv", Location("hashicorp", "http://127.0.0.1:8200/kv")),
    ],
)
def test_a_location_is_read(written: str, read: Location) -> None:
    assert location(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Redis",
        "redis:x",
        "file:",
        "memory://",
        "aws:a b",
        "aws:a?zone=b",
        "azure:a.vault.azure.net",
        "azure:https://a.vault.azure.net?prefix=a_b",
        "azure:http://a.vault.azure.net",
        "hashicorp:https://v:8200",
        "hashicorp:http://v:8200/kv",
        "hashicorp:https://user:word@v:8200/kv",
    ],
)
def test_a_location_that_is_not_known_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"must|not known"):
        location(written)


@pytest.mark.parametrize("written", ["memory://", "azure:a.vault.azure.net", "redis:x", "aws:a?zone=b"])
def test_a_wrong_location_is_named_with_what_is_allowed(written: str) -> None:
    with pytest.raises(ConfigurationError, match=f"VAULT is {re.escape(repr(written))}: (must|has)"):
        vault_settings(load_settings(vault=written, vault_keys=KEY))


def test_the_keys_of_the_vault_come_before_those_made_of_the_secret_key() -> None:
    alone = vault_settings(load_settings(secret_key=SECRET_KEY))
    own = vault_settings(load_settings(secret_key=SECRET_KEY, vault_keys=f"{KEY},{OTHER}"))

    assert len(alone.keys) == 1
    assert SECRET_KEY not in alone.keys
    assert own.keys == (KEY, OTHER, *alone.keys)


def test_no_key_of_the_vault_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(vault_keys=KEY, vault_token="the-token", azure_client_secret="the-secret")
    shown = f"{settings!r} {vault_settings(settings)!r} {settings.model_dump_json()}"
    assert [word for word in (KEY, "the-token", "the-secret") if word in shown] == []

    monkeypatch.setenv("VAULT_KEYS", "too-short-a-key")
    with pytest.raises(ConfigurationError, match="VAULT_KEYS is 15 characters long: each key must have 32") as refused:
        load_settings()
    assert "too-short" not in str(refused.value)


def test_a_lasting_store_needs_lasting_keys() -> None:
    with pytest.raises(ConfigurationError, match="VAULT is file:x, but VAULT_KEYS is not set"):
        load_settings(vault="file:x")
    assert vault_settings(load_settings(vault="file:x", secret_key=SECRET_KEY)).location.kind == "file"
    assert vault_settings(load_settings(vault="file:x", vault_keys=KEY)).location.kind == "file"


def serving_with(redis_url: str, **given: Any) -> Any:
    app = build(load_settings(redis_url=redis_url, secret_key=SECRET_KEY, auth_mode="none", **given))
    return app._run(Starlette()), app


async def readyz(app: Any) -> Any:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost:3232") as http:
        return (await http.get("/readyz")).json()


async def test_a_worker_whose_keys_decrypt_nothing_does_not_start(redis_url: str) -> None:
    context, app = serving_with(redis_url, vault_keys=KEY)
    async with context:
        await app.rooms.credentials.vault.put(HERS, {"t": 1}, purpose="test")

    context, app = serving_with(redis_url, vault_keys=OTHER)
    with pytest.raises(BaseExceptionGroup) as refused:
        async with context:
            pass
    assert refused.group_contains(ConfigurationError, match="VAULT_KEYS cannot decrypt what the vault holds")

    context, app = serving_with(redis_url, vault_keys=f"{OTHER},{KEY}")
    async with context:
        assert await app.rooms.credentials.vault.get(HERS, purpose="test") is not None
        assert "run `switchboard vault rotate`" in str(await readyz(app))


async def test_keys_made_of_the_secret_key_are_warned_of_once_there_is_something_to_lose(redis_url: str) -> None:
    context, app = serving_with(redis_url)
    async with context:
        assert "VAULT_KEYS" not in str(await readyz(app))
        await app.rooms.credentials.vault.put(HERS, {"t": 1}, purpose="test")
        assert "VAULT_KEYS is not set" in str(await readyz(app))

    context, app = serving_with(redis_url, vault_keys=KEY)
    async with context:
        record = await app.rooms.credentials.vault.get(HERS, purpose="test")
        assert record.value == {"t": 1}
        assert "VAULT_KEYS is not set" not in str(await readyz(app))


async def test_a_store_that_is_away_hinders_neither_the_start_nor_readiness(redis_url: str) -> None:
    away = f"hashicorp:http://127.0.0.1:{free_port()}/secret/switchboard"
    context, app = serving_with(redis_url, vault=away, vault_token="t", vault_keys=KEY)
    async with context:
        said = await readyz(app)
        assert said["status"] == "ready"
        assert "The vault cannot be asked for credentials: HashiCorp Vault does not answer" in str(said["warnings"])
        with pytest.raises(StateUnavailable, match="HashiCorp Vault does not answer"):
            await app.rooms.credentials.vault.get(HERS, purpose="test")


async def test_every_access_is_in_the_audit_log_of_the_fleet(redis_url: str) -> None:
    context, app = serving_with(redis_url)
    async with context:
        await app.rooms.credentials.vault.put(HERS, {"t": "Vq7-not-to-be-seen"}, purpose="signing in")
        state = app.rooms.state
        (entry,) = [fields for _id, fields in await state.redis.xrange(state.keys.audit())]

    assert {name: entry[name] for name in ("event", "who", "what", "why", "outcome")} == {
        "event": "credential.written",
        "who": HERS.owner,
        "what": "server:github/oauth",
        "why": "signing in",
        "outcome": "ok",
    }


async def test_without_entries_to_keep_there_is_no_audit_log(redis_url: str) -> None:
    context, app = serving_with(redis_url, audit_entries=0)
    async with context:
        await app.rooms.credentials.vault.put(HERS, {}, purpose="test")
        assert not await app.rooms.state.redis.exists(app.rooms.state.keys.audit())
        assert isinstance(app.rooms.credentials.vault.cipher, Cipher)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vault": "hashicorp:http://127.0.0.1:1/kv"}, "neither VAULT_TOKEN nor VAULT_TOKEN_FILE is set"),
        ({"vault": "aws:switchboard"}, "VAULT: aws: You must specify a region"),
    ],
)
async def test_what_a_store_needs_is_said_at_the_start(redis_url: str, settings: Any, said: str) -> None:
    context, _ = serving_with(redis_url, vault_keys=KEY, **settings)
    with pytest.raises(BaseExceptionGroup) as refused:
        async with context:
            pass
    assert refused.group_contains(ConfigurationError, match=said)


def test_a_store_that_is_away_is_a_kind_of_state_that_is_away() -> None:
    assert issubclass(VaultUnavailable, StateUnavailable)
