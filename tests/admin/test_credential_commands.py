"""`switchboard credentials`, `connections`, and `plugins config|remove`: through the API of two workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from switchboard.cli.commands import app
from switchboard.outbound_auth.connectables import Connectable, CredentialField
from switchboard.vault import RecordKey
from tests.admin.conftest import Fleet
from tests.admin.test_fleet_commands import document, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = "v4lue-nobody-may-see"


async def typed(url: str, text: str, *arguments: str) -> Any:
    """A command that reads its standard input."""
    given = {"SWITCHBOARD_TOKEN": None}
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--url", url], input=text, env=given)


async def test_a_value_is_read_from_the_input_used_by_another_worker_and_printed_nowhere(fleet: Fleet) -> None:
    a, b = fleet.workers[0].url, fleet.workers[1].url
    done = await typed(a, f"{VALUE}\n", "credentials", "set", "everything", "api_key", "--json")
    assert done.exit_code == 0, done.output
    made = document(done)
    kept = await fleet.workers[1].app.rooms.credentials.vault.get(
        RecordKey("plugin:everything", "api_key"), purpose="a test"
    )
    assert kept is not None
    assert kept.value == {"value": VALUE}
    [listed] = document(await run(b, "credentials", "list", "--plugin", "everything", "--json"))
    assert (listed["id"], listed["name"], listed["shared"]) == (made["id"], "api_key", True)
    shown = [await run(b, "credentials", *words) for words in (["list"], ["show", made["id"]], ["check", made["id"]])]
    assert [each.exit_code for each in shown] == [0, 0, 0]
    assert "everybody" in shown[0].stdout
    assert [VALUE in each.output for each in (done, *shown)] == [False] * 4


async def test_a_value_that_is_there_is_replaced_only_when_told_to(fleet: Fleet) -> None:
    url = fleet.workers[0].url
    words = ("credentials", "set", "everything", "api_key")
    assert (await typed(url, "one", *words)).exit_code == 0
    again = await typed(url, "two", *words)
    assert (again.exit_code, "use --replace" in again.stderr) == (2, True)
    assert (await typed(url, "two", *words, "--replace")).exit_code == 0
    key = RecordKey("plugin:everything", "api_key")
    kept = await fleet.workers[0].app.rooms.credentials.vault.get(key, purpose="a test")
    assert kept is not None
    assert kept.value == {"value": "two"}


async def test_a_credential_is_deleted_once_that_was_confirmed(fleet: Fleet) -> None:
    a, b = fleet.workers[0].url, fleet.workers[1].url
    made = document(await typed(a, VALUE, "credentials", "set", "everything", "api_key", "--json"))["id"]
    declined = await typed(a, "n\n", "credentials", "delete", made)
    assert (declined.exit_code, "Delete api_key (value) of everybody" in declined.stderr) == (1, True)
    assert (await run(a, "credentials", "delete", made, "--yes")).exit_code == 0
    gone = await run(b, "credentials", "check", made)
    assert (gone.exit_code, "answered 404" in gone.stderr) == (1, True)


async def test_an_empty_value_and_a_wrong_name_are_refused_with_the_reason(shared_fleet: Fleet) -> None:
    url = shared_fleet.workers[0].url
    empty = await typed(url, "\n", "credentials", "set", "everything", "api_key")
    assert (empty.exit_code, "the value is empty" in empty.stderr) == (2, True)
    name = await typed(url, "x", "credentials", "set", "everything", "oauth")
    assert (name.exit_code, "path.name: oauth is a name that the gateway keeps" in name.stderr) == (1, True)


async def test_a_value_is_never_an_argument() -> None:
    """What stands in a command line is seen by everybody of the machine, and kept by shells."""
    done = CliRunner().invoke(app, ["credentials", "set", "everything", "api_key", VALUE])
    assert (done.exit_code, "unexpected extra argument" in done.stderr) == (2, True)


async def test_a_persons_connection_is_listed_checked_and_ended(fleet: Fleet) -> None:
    weather = Connectable("weather", "plugin:weather", "Weather", fields=(CredentialField("key"),))
    for worker in fleet.workers:
        worker.app.rooms.credentials.connectables.put(weather)
    key = RecordKey("plugin:weather", "key", '["https://issuer", "alice"]')
    vault = fleet.workers[0].app.rooms.credentials.vault
    await vault.put(key, {"value": VALUE}, purpose="a test")
    a, b = fleet.workers[0].url, fleet.workers[1].url
    [seen] = document(await run(b, "connections", "list", "--to", "weather", "--json"))
    assert "1 connections" in (await run(b, "connections", "list", "--subject", "alice")).stderr
    good = await run(b, "connections", "check", seen["id"])
    assert (good.exit_code, "alice at weather: connected" in good.stdout) == (0, True)
    declined = await typed(b, "n\n", "connections", "end", seen["id"])
    assert (declined.exit_code, "End the connection of alice to weather?" in declined.stderr) == (1, True)
    ended = document(await run(b, "connections", "end", seen["id"], "--yes", "--json"))
    assert ended == {"ended": seen["id"], "note": ""}
    assert await vault.get(key, purpose="a test") is None
    gone = await run(a, "connections", "check", seen["id"])
    assert (gone.exit_code, "answered 404" in gone.stderr) == (1, True)


async def test_a_plugins_configuration_is_shown_and_replaced_on_every_worker(fleet: Fleet, tmp_path: Path) -> None:
    a, b = fleet.workers[0].url, fleet.workers[1].url
    assert document(await run(a, "plugins", "config", "everything", "--json")) == {}
    file = tmp_path / "new.yaml"
    file.write_text("colour: red")
    refused = await run(a, "plugins", "config", "everything", "--from", str(file))
    assert (refused.exit_code, "colour" in refused.stderr) == (1, True), refused.output
    file.write_text("- no object")
    no_object = await run(a, "plugins", "config", "everything", "--from", str(file))
    assert (no_object.exit_code, "is an object" in no_object.stderr) == (2, True)
    done = await typed(a, "{}", "plugins", "config", "everything", "--from", "-")
    assert done.exit_code == 0, done.output
    assert (await run(b, "plugins", "config", "everything")).stdout.splitlines()[-1] == "{}"


async def test_a_plugins_row_is_removed_once_that_was_confirmed(fleet: Fleet) -> None:
    a, b = fleet.workers[0].url, fleet.workers[1].url
    assert (await typed(a, "n\n", "plugins", "remove", "everything")).exit_code == 1
    done = await run(a, "plugins", "remove", "everything", "--yes", "--json")
    assert (done.exit_code, document(done)) == (0, {"removed": "everything"})
    again = await run(b, "plugins", "remove", "everything", "--yes")
    assert again.exit_code == 1
