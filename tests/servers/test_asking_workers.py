"""The command line asks running workers about their servers."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from typer.testing import CliRunner, Result

from switchboard.cli.commands import app
from switchboard.telemetry.metrics import SERVER_RESTARTS
from switchboard.worker_control import WorkerControl, ask
from switchboard.worker_socket import answering_here, ask_here, socket_file
from tests.telemetry.counting import Counted


async def typed(setup: Any, redis_url: str, *words: str, **more: str) -> Result:
    env = {
        **more, "CONFIG_FILE": str(setup.file), "REDIS_URL": redis_url, "COLUMNS": "200", "LOG_LEVEL": "error",
        "SECRET_KEY": "a key for tests that is long enough to be one", "AUTH_MODE": "none",
    }  # fmt: skip
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words), env=env))


async def test_two_workers_say_how_their_servers_are_doing(setup: Any, until: Any, redis_url: str) -> None:
    noisy = {"command": sys.executable, "args": ["-c", "import sys; print('no disk', file=sys.stderr); sys.exit(3)"]}
    setup.write({"a": setup.server("a"), "broken": noisy, "gone": {"command": "no-such-program"}})
    for _ in range(2):
        await setup.start(redis_url=redis_url)
    state = setup.apps[0].rooms.state

    async def settled() -> bool:
        answers = await ask(state)
        rows = {row["name"]: row for answer in answers for row in answer["servers"]}
        return len(answers) == 2 and rows["a"]["condition"] == "ready" and rows["broken"]["condition"] == "failing"

    await until(settled)
    expected = (
        "ready (2)",
        "failing (2)",
        "failed (2): gone: the program 'no-such-program' is not on the PATH",
    )

    async def told() -> bool:  # a server that keeps failing is, for a moment, also one that starts again
        listed = await typed(setup, redis_url, "servers", "list")
        return all(each in listed.stdout for each in expected)

    await until(told)

    async def logged() -> bool:
        return (await typed(setup, redis_url, "servers", "logs", "broken")).stdout.count("no disk") >= 2

    await until(logged)
    found = await typed(setup, redis_url, "doctor")
    assert found.exit_code == 1
    assert "state: Redis answers; 2 workers do" in found.stdout


async def test_a_server_is_restarted_on_every_worker(setup: Any, until: Any, redis_url: str) -> None:
    setup.write({"a": setup.server("a")})
    url = await setup.start(redis_url=redis_url)
    async with Client(url) as client:

        async def there() -> bool:
            return bool((await client.list_tools(cache_mode="refresh")).tools)

        await until(there)
        before = (await client.call_tool("a__who")).content
        counted = Counted(SERVER_RESTARTS)
        done = await typed(setup, redis_url, "servers", "restart", "a")
        assert counted.since() == {("a",): 1}
        assert done.stdout.endswith("a: restarted on 1 of 1 worker\n")  # the worker in this process logs there too

        async def fresh() -> bool:
            return (await client.call_tool("a__who")).content != before

        await until(fresh)
    assert (await typed(setup, redis_url, "servers", "restart", "b")).exit_code == 1
    assert counted.since() == {("a",): 1}


async def test_a_server_is_waited_for_until_every_worker_has_prepared_it(setup: Any, redis_url: str) -> None:
    off = {**setup.server("off"), "enabled": False}
    setup.write({"a": setup.server("a"), "gone": {"command": "no-such-program"}, "off": off})
    for _ in range(2):
        await setup.start(redis_url=redis_url)
    done = await typed(setup, redis_url, "servers", "wait", "a", "--json")
    assert done.exit_code == 0, done.output
    [document] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"server"')]
    assert [row["phase"] for row in document["workers"]] == ["running", "running"]
    gone = await typed(setup, redis_url, "servers", "wait", "gone")
    assert (gone.exit_code, "gone cannot be prepared: gone: the program 'no-such-program'" in gone.stderr) == (1, True)
    disabled = await typed(setup, redis_url, "servers", "wait", "off")
    assert (disabled.exit_code, "`switchboard servers enable off`" in disabled.stderr) == (1, True)
    unknown = await typed(setup, redis_url, "servers", "wait", "none", "--timeout", "0")
    assert (unknown.exit_code, "none is not prepared in time: no worker has it yet" in unknown.stderr) == (1, True)


async def test_what_is_left_out_and_what_is_renamed_is_told_once_whoever_asked_the_server(
    setup: Any, until: Any, redis_url: str
) -> None:
    schema = {"type": "object"}
    bad = [{"name": f"bad{number}", "inputSchema": {"$ref": f"http://example.org/{number}"}} for number in range(25)]
    tools = [{"name": "user/profile", "inputSchema": schema}, {"name": "ok", "inputSchema": schema}, *bad]
    definitions = setup.folder / "definitions.json"
    definitions.write_text(json.dumps([*tools, {"name": "ok", "inputSchema": schema}]))
    raw = Path(__file__).parents[1] / "backends" / "servers" / "raw.py"
    row = {"command": sys.executable, "args": ["-S", str(raw), "definitions", str(definitions)], "era": "handshake"}
    setup.write({"odd": row})
    for _ in range(2):
        await setup.start(redis_url=redis_url)
    expected = [
        f"odd: tools: 'bad{number}': inputSchema refers to 'http://example.org/{number}', outside of itself"
        for number in range(25)
    ]
    expected += ["odd: tools: 'ok': it is listed twice; the first one counts"]
    expected += ["odd: tools: 'user/profile' is offered as 'odd__user_profile'"]

    async def told() -> bool:
        answers = await ask(setup.apps[0].rooms.state)
        notes = [row["notes"] for answer in answers for row in answer["servers"]]
        # a worker that nobody asked for lists may not have made a snapshot of the offer yet
        return len(notes) == 2 and max(map(len, notes)) == len(expected)

    await until(told)
    listed = await typed(setup, redis_url, "servers", "list")
    assert [line for line in listed.stdout.splitlines() if line.startswith("odd: ")] == expected


@pytest.fixture
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which no other test's worker has left a socket."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def leave_a_socket_behind(file: Path) -> None:
    """As a worker does that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(file))


async def test_a_worker_without_redis_is_asked_on_its_own_machine(
    setup: Any, until: Any, own_runtime_folder: Path
) -> None:
    code = "import sys; print('Error: no such disk', file=sys.stderr); sys.exit(3)"
    setup.write({"a": setup.server("a"), "broken": {"command": sys.executable, "args": ["-c", code]}})
    await setup.start(port=45_001)

    async def told() -> bool:
        listed = await typed(setup, "", "servers", "list", PORT="45001")
        return "ready" in listed.stdout and "failing: it exited with 3: Error: no such disk" in listed.stdout

    async def logged() -> bool:  # though the child is gone; the next one may have been started and be silent yet
        return "  Error: no such disk\n" in (await typed(setup, "", "servers", "logs", "broken", PORT="45001")).stdout

    async def ill() -> bool:  # when it has failed anew
        return "server broken on" in (await typed(setup, "", "doctor", PORT="45001")).stdout

    await until(told)
    await until(logged)
    done = await typed(setup, "", "servers", "restart", "broken", PORT="45001")
    assert done.stdout.endswith("broken: restarted on 1 of 1 worker\n")
    await until(ill)
    place = own_runtime_folder / "switchboard" / "45001.sock"
    leave_a_socket_behind(place.with_name("45009.sock"))
    elsewhere = await typed(setup, "", "servers", "restart", "broken", PORT="45002")
    assert elsewhere.exit_code == 1
    assert "no running worker answers for port 45002; there is one at 45001: PORT says which" in elsewhere.output
    assert [path.stat().st_mode & 0o777 for path in (place.parent, place)] == [0o700, 0o600]


async def nothing_reloaded(_names: Any) -> bool:
    return False


async def test_what_a_dead_worker_left_is_replaced_and_a_living_one_is_not(own_runtime_folder: Path) -> None:
    file = socket_file(45_003)

    def tell(name: str) -> WorkerControl:
        return WorkerControl(
            lambda: {"worker": name, "servers": []},
            lambda _name: True,
            nothing_reloaded,
            lambda _name: [],
            lambda: None,
        )

    async with answering_here(45_003, tell("first")):
        async with answering_here(45_003, tell("second")):
            [answer] = await ask_here(45_003, restart="x")
            assert (answer["worker"], answer["restarted"]) == ("first", True)
        assert (await ask_here(45_003))[0]["worker"] == "first"
        reader, writer = await asyncio.open_unix_connection(file)
        writer.write(b"nonsense\n")
        assert await reader.read() == b""
        writer.close()
    assert await ask_here(45_003) == []
    leave_a_socket_behind(file)
    async with answering_here(45_003, tell("third")):
        assert (await ask_here(45_003))[0]["worker"] == "third"


async def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "switchboard").mkdir()
    (tmp_path / "switchboard").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with answering_here(45_004, WorkerControl(dict, bool, nothing_reloaded, lambda _name: [], lambda: None)):
        assert await ask_here(45_004) == []
