"""`switchboard workers` and `switchboard sessions`, run against two workers."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from switchboard.cli.client import api
from switchboard.cli.commands import app
from tests.admin.conftest import Fleet
from tests.admin.test_fleet import initialized, signing_in, token
from tests.sessions.conftest import Workers
from tools.messages import ACCEPT, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run(url: str, *arguments: str) -> Any:
    """In a thread: the workers run in this one."""
    given = {"COLUMNS": "200", "SWITCHBOARD_TOKEN": None}
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--url", url], env=given)


def document(done: Any) -> Any:
    """The JSON that a command printed; the workers of this process log to the same output."""
    [line] = [line for line in done.stdout.splitlines() if line.startswith(("[", "{"))]
    return json.loads(line)


async def test_workers_are_listed_and_one_is_drained_through_another(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr("switchboard.app.os.kill", lambda _pid, number: left.append(number))
    url = fleet.workers[0].url
    found = document(await run(url, "workers", "list", "--json"))
    assert {each["id"]: each["state"] for each in found} == {fleet.id(0): "serving", fleet.id(1): "serving"}
    done = await run(url, "workers", "drain", fleet.id(1))
    assert (done.exit_code, left) == (0, [signal.SIGTERM]), done.output
    fleet.workers[1].app.drain()
    lines = (await run(url, "workers", "list")).stdout.splitlines()
    assert [line.split()[1] for line in lines if line.strip().startswith(fleet.id(1))] == ["draining"]


async def test_sessions_of_all_pages_are_listed_and_one_is_ended(
    shared_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE", 2)
    sids = sorted([await initialized(shared_fleet) for _ in range(5)])
    url = shared_fleet.workers[1].url
    found = document(await run(url, "sessions", "list", "--json"))
    assert [each["id"] for each in found] == sids
    ended = await run(url, "sessions", "end", sids[0], "--json")
    assert document(ended) == {"ended": sids[0]}
    again = await shared_fleet.a.post(
        shared_fleet.workers[0].url, json=request("ping"), headers={**ACCEPT, "mcp-session-id": sids[0]}
    )
    assert again.status_code == 404
    assert "4 sessions" in (await run(url, "sessions", "list")).stderr


async def test_streams_of_all_workers_are_listed_and_one_is_ended_through_another(
    shared_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE", 1)
    held, through = shared_fleet.workers[0], shared_fleet.workers[1].url
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        clients = Workers([*shared_fleet.workers], http, held.app.rooms.state)
        sessions = [await clients.open() for _ in range(2)]
        async with sessions[0].listen(held) as first, sessions[1].listen(clients.b) as second:
            await asyncio.gather(first.next(), second.next())
            found = document(await run(through, "streams", "list", "--json"))
            assert {each["session"] for each in found} == {each.id for each in sessions}
            [ours] = document(await run(through, "streams", "list", "--worker", shared_fleet.id(0), "--json"))
            table = await run(through, "streams", "list")
            assert ("2 streams" in table.stderr, ours["id"] in table.stdout) == (True, True)
            ended = await run(through, "streams", "end", ours["id"], "--json")
            assert document(ended) == {"ended": ours["id"]}
            await first.rest()
            again = await run(through, "streams", "end", ours["id"])
            assert (again.exit_code, "answered 404: there is no stream" in again.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [("workers", "drain", "w/../x"), ("sessions", "end", "none")])
async def test_what_there_is_not_is_said_in_one_line(arguments: tuple[str, ...], shared_fleet: Fleet) -> None:
    done = await run(shared_fleet.workers[0].url, *arguments)
    assert done.exit_code == 1
    assert "answered 404: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_a_command_without_the_token_of_an_operator_says_which_scope_it_needs(redis_url: str) -> None:
    async with signing_in(redis_url) as worker:
        nobody = await run(worker.url, "workers", "list")
        alice = await run(worker.url, "workers", "list", "--token", await token(worker, "alice", "mcp"))
        operator = await run(worker.url, "workers", "list", "--token", await token(worker, "admin", "admin:read"))
    assert (nobody.exit_code, alice.exit_code, operator.exit_code) == (1, 1, 0)
    assert "needs a token with the scope admin: give it as --token" in nobody.stderr
    assert "needs a token with the scope admin:read" in alice.stderr
