"""What an operator does by hand: each command of SECURITY.md, run as it stands there."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auth_server import operations
from auth_server.environment import read
from auth_server.operations import UnknownToken, parsed
from switchboard.errors import ConfigurationError
from tests.auth.conftest import MakeWorld

SECURITY = Path(__file__).parents[3] / "SECURITY.md"
KEY = "k" * 32


@pytest.fixture
def operate(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`await operate("revoke", "--all")`: what the operator is told."""

    async def run(*arguments: str, given: str = "", key: str = KEY) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        return await operations.operate(read(None, redis_url=redis_url, secret_key=key), parsed(arguments))

    return run


@pytest.fixture
def world(make_world: MakeWorld) -> Any:
    return make_world(secret_keys=(KEY,))


on_redis = pytest.mark.parametrize("redis", ["redis"], indirect=True)


@on_redis
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_leaked_token_is_ended_with_all_that_came_of_the_same_consent(
    world: Any, operate: Any, kind: str
) -> None:
    leaked, other = await world.tokens(), await world.tokens()

    said = await operate("revoke", "--token", given=leaked[kind] + "\n")

    assert said.startswith("1 authorization ended")
    assert leaked[kind] not in said
    assert await world.server.introspect_token(leaked["access_token"]) is None
    assert (await world.refresh(leaked["client"], leaked["refresh_token"])).status_code == 400
    assert await world.server.introspect_token(other["access_token"])


@on_redis
async def test_what_is_no_token_of_ours_ends_nothing_and_is_said(world: Any, operate: Any) -> None:
    with pytest.raises(UnknownToken):
        await operate("revoke", "--token", given="sba_" + "A" * 65)


@on_redis
async def test_a_person_and_a_client_and_everybody_can_be_revoked(world: Any, operate: Any) -> None:
    alice, bob, carol = [await world.tokens(user=user) for user in ("alice", "bob", "carol")]

    assert await operate("revoke", "--user", "alice") == "1 authorizations ended"
    assert await operate("revoke", "--client", bob["client"]["client_id"]) == "1 authorizations ended"
    for tokens in (alice, bob):
        assert await world.server.introspect_token(tokens["access_token"]) is None
    assert await world.server.introspect_token(carol["access_token"])
    await operate("revoke", "--all")
    assert await world.server.introspect_token(carol["access_token"]) is None


@on_redis
async def test_a_client_whose_secret_leaked_is_forgotten_with_its_tokens(world: Any, operate: Any) -> None:
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    sent = {"client_id": client["client_id"], "client_secret": client["client_secret"], "token": "x"}

    said = await operate("revoke", "--client", client["client_id"], "--forget")

    assert said == "0 authorizations ended; the registration is gone"
    async with world.browser() as http:
        assert (await http.post("/introspect", data=sent)).status_code == 401
    assert "was not registered" in await operate("revoke", "--client", client["client_id"], "--forget")


@on_redis
@pytest.mark.parametrize(("how", "published"), [("rotate", 2), ("replace", 1)])
async def test_signing_keys_are_changed_for_all_processes(
    make_world: MakeWorld, operate: Any, how: str, published: int
) -> None:
    world = make_world(secret_keys=(KEY,), access_tokens="jwt")
    world.clock.now = time.time()  # which the command goes by
    tokens = await world.tokens()

    said = await operate("signing-keys", how)

    async with world.browser() as http:
        keys = (await http.get("/jwks")).json()["keys"]
    assert len(keys) == published
    assert said.startswith(keys[0]["kid"])
    good = await world.server.introspect_token(tokens["access_token"]) is not None
    assert good is (how == "rotate")
    assert await world.server.introspect_token((await world.tokens())["access_token"])


@on_redis
async def test_with_other_keys_than_the_fleets_nothing_is_done(world: Any, operate: Any) -> None:
    await operate("revoke", "--user", "alice")
    with pytest.raises(ConfigurationError, match="SECRET_KEY shares no key"):
        await operate("revoke", "--user", "alice", key="o" * 32)


@on_redis
async def test_the_command_reads_the_servers_own_settings_and_says_what_it_did(
    world: Any, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"REDIS_URL={redis_url}\nSECRET_KEY={KEY}\n")
    world.clock.now = time.time()
    tokens = await world.tokens()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "auth_server", "revoke", "--token"]
    options: dict[str, Any] = {"env": env, "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60}

    done = await asyncio.to_thread(partial(subprocess.run, command, input=tokens["access_token"], **options))
    options["env"] = env | {"REDIS_URL": "memory://"}
    again = await asyncio.to_thread(partial(subprocess.run, [*command[:-1], "--all"], **options))

    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"1 authorization ended: of alice, for {tokens['client']['client_id']}"],
    )
    assert (again.returncode, "REDIS_URL is not set" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [["revoke"], ["revoke", "--all", "--forget"], ["revoke", "--user", "a", "--all"], ["x"]]
)
def test_a_command_that_makes_no_sense_does_nothing(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parsed(arguments)
    assert ending.value.code == 2


def test_the_runbook_names_only_commands_that_there_are() -> None:
    commands = re.findall(r"python -m auth_server ([a-z-]+[^`\n<#]*)", SECURITY.read_text())
    assert len(commands) >= 6
    for command in commands:
        assert parsed(command.split()).action in ("revoke", "signing-keys")
