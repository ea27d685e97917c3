"""`switchboard vault` and `switchboard audit`: what they say, how they end, and that no value is shown."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner, Result

from switchboard.cli.commands import app
from switchboard.settings import Settings, load_settings
from switchboard.state import open_state
from switchboard.vault import RecordKey, Vault
from switchboard.vault_settings import opened_vault
from tests.cli.conftest import COMMAND, bare

OLD, NEW, LOST = "o" * 32, "n" * 32, "l" * 32
SECRET = "Vq7-not-to-be-seen"
HERS, OURS = RecordKey("server:github", "oauth", '["i", "alice"]'), RecordKey("gateway", "client")

Run = Callable[..., Result]


@pytest.fixture
def run(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("status", VAULT_KEYS=…)`: a command in an empty folder, in this process."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("switchboard.log.configure", lambda *_: None)  # this process has a log of its own

    def invoke(*arguments: str, input: str = "", **env: str) -> Result:
        given = {"REDIS_URL": redis_url, "SECRET_KEY": "s" * 32, "VAULT_KEYS": OLD, **env}
        group = [] if arguments[0] in ("audit", "doctor") else ["vault"]
        result = CliRunner().invoke(app, [*group, *arguments], env=given, input=input)
        assert SECRET not in result.output
        assert not result.exception or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


@pytest.fixture
def kept(redis_url: str) -> Callable[..., Any]:
    """`kept(work, *keys)`: do something with a vault under these keys."""

    def do(work: Callable[[Vault], Coroutine[Any, Any, Any]], *keys: str) -> Any:
        async def doing() -> Any:
            settings = load_settings(None, redis_url=redis_url, secret_key="s" * 32, vault_keys=",".join(keys or [OLD]))
            async with open_state(redis_url) as state, opened_vault(settings, state, "w1") as vault:
                return await work(vault)

        return asyncio.run(doing())

    return do


async def two_records(vault: Vault) -> None:
    await vault.put(HERS, {"t": SECRET}, purpose="signing in")
    await vault.put(OURS, {"t": SECRET}, purpose="registering")


def test_an_empty_vault_is_well(run: Run) -> None:
    result = run("status", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert (said["vault"], said["records"], said["namespaces"], said["undecryptable"]) == ("redis", 0, {}, [])
    assert [key["records"] for key in said["keys"]] == [0, 0]  # of VAULT_KEYS, and the one made of SECRET_KEY


def test_status_counts_and_names_keys_by_id(run: Run, kept: Callable[..., Any]) -> None:
    kept(two_records)

    said = json.loads(run("status", "--json", VAULT_KEYS=f"{NEW},{OLD}").stdout)
    assert said["namespaces"] == {
        "gateway": {"records": 1, "owners": 1},
        "server:github": {"records": 1, "owners": 1},
    }
    assert [key["records"] for key in said["keys"]] == [0, 2, 0]
    text = run("status").stdout
    assert "redis: 2 credentials" in text
    assert "server:github: 1 of 1 owners" in text


def test_status_ends_with_1_when_something_cannot_be_decrypted(run: Run, kept: Callable[..., Any]) -> None:
    kept(two_records)

    result = run("status", VAULT_KEYS=NEW)
    assert result.exit_code == 1
    assert 'CANNOT BE DECRYPTED: server:github/oauth of ["i", "alice"]' in result.stdout
    assert "NOT IN VAULT_KEYS" in result.stdout


def test_after_rotate_the_old_key_may_go(run: Run, kept: Callable[..., Any]) -> None:
    kept(two_records)

    result = run("rotate", "--json", VAULT_KEYS=f"{NEW},{OLD}")
    assert (result.exit_code, json.loads(result.stdout)["reencrypted"]) == (0, 2)
    assert run("status", VAULT_KEYS=NEW).exit_code == 0
    assert "0 encrypted with the newest key, 2 were already" in run("rotate", VAULT_KEYS=NEW).stdout


def test_what_was_written_before_there_were_vault_keys_is_taken_over(run: Run, redis_url: str) -> None:
    async def write() -> None:
        settings = load_settings(None, redis_url=redis_url, secret_key="s" * 32)
        async with open_state(redis_url) as state, opened_vault(settings, state, "w1") as vault:
            await two_records(vault)

    asyncio.run(write())
    assert json.loads(run("rotate", "--json", VAULT_KEYS=NEW).stdout)["reencrypted"] == 2
    assert run("status", VAULT_KEYS=NEW, SECRET_KEY="t" * 32).exit_code == 0


def test_nothing_is_deleted_without_being_asked_for_twice(run: Run, kept: Callable[..., Any]) -> None:
    kept(two_records, LOST)

    result = run("rotate")
    assert result.exit_code == 1
    assert "CANNOT BE DECRYPTED: gateway/client of the gateway" in result.stdout
    asked = run("rotate", "--delete-undecryptable", input="n\n")
    assert asked.exit_code == 1
    assert "Delete 2 of 2 credentials" in asked.output
    assert run("status", VAULT_KEYS=LOST).exit_code == 0

    done = run("rotate", "--delete-undecryptable", "--json", input="y\n")
    assert done.exit_code == 0
    assert '"deleted": 2' in done.stdout
    kept(two_records, OLD)


async def of_several_people(vault: Vault) -> None:
    for namespace in ("server:github", "server:drive"):
        for owner in ("", '["i", "alice"]', '["j", "alice"]', '["i", "bob"]'):
            await vault.put(RecordKey(namespace, "oauth", owner), {"t": SECRET}, purpose="test")


@pytest.mark.parametrize(
    ("wanted", "deleted"),
    [
        (["--owner", "alice"], 4),
        (["--owner", '["i", "alice"]'], 2),
        (["--owner", "bob", "--namespace", "server:drive"], 1),
        (["--namespace", "server:drive"], 4),
        (["--owner", ""], 0),
        (["--owner", "i"], 0),
        (["--namespace", "plugin:none"], 0),
    ],
)
def test_what_a_person_or_a_server_has_is_deleted_and_nothing_else(
    run: Run, kept: Callable[..., Any], wanted: list[str], deleted: int
) -> None:
    kept(of_several_people)

    asked = run("delete", *wanted, input="n\n")
    assert (asked.exit_code, f"Delete {deleted} credentials" in asked.output) == (1, True)
    assert json.loads(run("delete", *wanted, "--yes", "--json").stdout) == {"deleted": deleted}
    assert json.loads(run("status", "--json").stdout)["records"] == 8 - deleted


def test_deleting_names_what(run: Run) -> None:
    result = run("delete", "--yes")
    assert (result.exit_code, "name an owner, or a namespace" in result.output) == (2, True)


def test_a_backup_is_a_private_file_and_is_restored(
    run: Run, kept: Callable[..., Any], redis_url: str, tmp_path: Path
) -> None:
    kept(two_records)
    file = tmp_path / "vault.backup"

    assert run("backup", str(file)).stdout == f"2 credentials in {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in file.read_text()
    again = run("backup", str(file))
    assert (again.exit_code, "is there already: name another file" in again.output) == (1, True)

    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    result = run("restore", str(file), "--json", VAULT_KEYS=f"{NEW},{OLD}")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {"restored": 2, "kept": 0, "expired": 0, "refused": 0},
    )
    record = kept(lambda vault: vault.get(HERS, purpose="test"), NEW)
    assert record.value == {"t": SECRET}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read (FileNotFoundError)"), (b"\xff", "cannot be read"), (b"x", "no backup")],
)
def test_a_file_that_is_no_backup_is_refused(run: Run, tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "it"
    if content is not None:
        file.write_bytes(content)
    result = run("restore", str(file))
    assert (result.exit_code, said in result.output) == (1, True)


def test_warnings_do_not_stand_in_what_programs_read(kept: Callable[..., Any], redis_url: str, tmp_path: Path) -> None:
    kept(two_records, LOST)
    env = {"REDIS_URL": redis_url, "SECRET_KEY": "s" * 32, "VAULT_KEYS": NEW, "LOG_FORMAT": "json"}

    done = subprocess.run(
        [COMMAND, "vault", "rotate", "--json"], env=bare(env), cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert len(json.loads(done.stdout)["undecryptable"]) == 2
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in logged] == ["credential.undecryptable"] * 2


def test_wrong_settings_end_with_2(run: Run, kept: Callable[..., Any], tmp_path: Path) -> None:
    kept(two_records)

    wrong_keys = run("backup", str(tmp_path / "b"), VAULT_KEYS=NEW)
    assert (wrong_keys.exit_code, "VAULT_KEYS cannot decrypt what the vault holds" in wrong_keys.output) == (2, True)
    assert not (tmp_path / "b").exists()
    nowhere = run("status", REDIS_URL="", VAULT="redis")
    assert (nowhere.exit_code, "REDIS_URL is not set" in nowhere.output) == (2, True)
    unknown = run("status", VAULT="etcd:x")
    assert (unknown.exit_code, "VAULT is 'etcd:x': must be redis" in unknown.output) == (2, True)


def test_a_store_that_is_away_ends_with_1(run: Run) -> None:
    result = run("status", VAULT="hashicorp:http://127.0.0.1:1/kv", VAULT_TOKEN="t")
    assert (result.exit_code, "HashiCorp Vault does not answer" in result.output) == (1, True)
    result = run("status", REDIS_URL="redis://127.0.0.1:1")
    assert result.exit_code == 1


def test_files_need_no_redis(run: Run, tmp_path: Path) -> None:
    result = run("status", VAULT=f"file:{tmp_path}/vault", REDIS_URL="")
    assert (result.exit_code, "this is not audited" in result.output) == (0, True)


def test_the_doctor_says_how_the_vault_is(run: Run, kept: Callable[..., Any]) -> None:
    assert "ok       vault: redis: nothing is in it yet" in run("doctor").stdout
    kept(two_records)
    assert "ok       vault: redis: VAULT_KEYS decrypts what is there" in run("doctor").stdout
    assert (
        "warning  vault: Credentials are encrypted with an older key" in run("doctor", VAULT_KEYS=f"{NEW},{OLD}").stdout
    )
    wrong = run("doctor", VAULT_KEYS=NEW)
    assert (wrong.exit_code, "FAILED   vault: VAULT_KEYS cannot decrypt what" in wrong.stdout) == (1, True)
    away = run("doctor", VAULT="hashicorp:http://127.0.0.1:1/kv", VAULT_TOKEN="t")
    assert "FAILED   vault: HashiCorp Vault does not answer" in away.stdout
    assert "ok       vault: in memory" in run("doctor", REDIS_URL="").stdout


def test_the_whole_audit_log_is_exported_in_pages(
    run: Run, kept: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(two_records)
    run("status")
    listed = [json.loads(line)["id"] for line in run("audit", "list", "--json").stdout.splitlines()]
    assert len(listed) > 2
    monkeypatch.setattr("switchboard.cli.vault.audit_commands.PAGE", 2)
    exported = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    assert [each["id"] for each in exported] == listed[::-1]
    assert all(each["mac"] for each in exported)
    assert run("audit", "export", "--format", "cef").stdout.count("CEF:0|Switchboard|") == len(listed)


def test_the_audit_log_is_shown_and_verified(run: Run, kept: Callable[..., Any], redis_url: str) -> None:
    kept(two_records)
    run("status")

    lines = run("audit", "list").stdout.splitlines()
    assert "credential.written server:github/oauth ok" in lines[0]
    assert 'who=["i", "alice"] why=signing in' in lines[0]
    assert "vault.examined vault ok who=command line records=2" in lines[-1]
    (newest,) = run("audit", "list", "--last", "1", "--json").stdout.splitlines()
    assert {name: json.loads(newest)[name] for name in ("event", "who")} == {
        "event": "vault.examined",
        "who": "command line",
    }
    whole = run("audit", "verify")
    assert (whole.exit_code, whole.stdout) == (0, "3 entries, 0 faults\n")

    with redis.Redis.from_url(redis_url) as client:
        client.xadd("audit", {"event": "credential.read", "who": "nobody"})
    forged = run("audit", "verify", "--json")
    assert forged.exit_code == 1
    assert json.loads(forged.stdout)["faults"][0].endswith("changed, or written without SECRET_KEY")
