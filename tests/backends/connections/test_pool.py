"""The life of connections: who shares one, when one starts and ends, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged

from switchboard.backends import Bounds, Patience, Watchdog
from switchboard.backends.connections.connection_key import default_scope, key_for
from switchboard.identity import ANONYMOUS, Caller, Principal
from tests.backends.conftest import HASTE
from tools.fleet.workers import offered
from tools.messages import text

ANN = Principal("https://issuer", "ann", "client")


def pid(result: Any) -> int:
    return int(text(result).split(":")[0])


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # A process whose parent has not looked yet is as dead as one can be.
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def gone(*numbers: int, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while any(alive(number) for number in numbers):
            await asyncio.sleep(0.02)


def test_the_scope_of_a_backend_that_says_nothing_is_the_safe_one(raw: Any) -> None:
    stdio = raw("a", scope=None)
    assert default_scope(stdio, modern=False) == "session"
    assert default_scope(stdio, modern=True) == "session"


def test_lines_are_kept_apart_by_session_person_and_what_the_client_can_be_asked() -> None:
    ann = Caller(ANN, "s1")
    assert key_for("session", ann, {}) == key_for("session", Caller(ANN, "s1"), {})
    assert key_for("session", ann, {}) != key_for("session", Caller(ANN, "s2"), {})
    assert key_for("session", ann, {}) != key_for("session", ann, {"sampling": {}})
    assert key_for("user", ann, {}) == key_for("user", Caller(ANN, "s2"), {})
    assert key_for("user", ann, {}) != key_for("user", Caller(Principal("https://issuer", "bob", "client")), {})
    assert key_for("shared", ann, {}) == key_for("shared", Caller(ANONYMOUS), {})


def test_a_modern_client_has_its_principal_for_a_session_and_nobody_has_a_line_per_call() -> None:
    assert key_for("session", Caller(ANN), {}) == key_for("session", Caller(ANN), {})
    assert not key_for("session", Caller(ANN), {}).once
    assert key_for("session", Caller(ANONYMOUS), {}).once


async def test_each_session_has_a_child_of_its_own_and_keeps_it(raw: Any, fleet: Any, connect: Any) -> None:
    [url] = await fleet([raw("own", scope=None)])
    async with connect(url, "handshake") as ann, connect(url, "handshake") as bob:
        await offered(ann, "own__bump")
        first, other = await ann.call_tool("own__bump"), await bob.call_tool("own__bump")
        second = await ann.call_tool("own__bump")
        assert pid(first) == pid(second) != pid(other)
        assert [text(result).split(":")[1] for result in (first, second, other)] == ["1", "2", "1"]


async def test_an_idle_child_is_ended_and_the_next_call_starts_another(raw: Any, open_gateway: Any) -> None:
    backend = raw("idle", patience=Patience(idle=0.4, stop=0.5))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        first = pid(await client.call_tool("idle__echo"))
        await gone(first)
        assert pid(await client.call_tool("idle__echo")) != first


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(connections_per_user=2), "2 connections of yours are open"),
        (Bounds(connections=2), "2 connections are open on this worker"),
    ],
)
async def test_a_line_too_many_is_refused_and_idle_ones_make_room(
    bounds: Bounds, why: str, raw: Any, open_gateway: Any
) -> None:
    backend = raw("few", scope="session", bounds=bounds)  # nobody is known: a line for each call
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        held = [asyncio.ensure_future(client.call_tool("few__silent")) for _ in range(2)]
        await opened.until(lambda: sum(len(connection.calls) for connection in opened.providers["few"].pool._all) == 2)
        with pytest.raises(MCPError, match=f"Backend 'few': {why}, and all are in use"):
            await client.call_tool("few__echo")
        for call in held:
            call.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await opened.until(lambda: not any(connection.calls for connection in opened.providers["few"].pool._all))
        assert text(await client.call_tool("few__echo")).endswith(":1:")


async def test_a_child_is_started_by_the_first_call_and_not_before(
    raw: Any, fleet: Any, connect: Any, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    [url] = await fleet([raw("lazy", "tally", str(tally), scope=None)])
    async with connect(url, "handshake") as client:
        async with asyncio.timeout(60):
            while not (await client.list_tools(cache_mode="refresh")).tools[-1].name.startswith("lazy__"):
                await asyncio.sleep(0.02)
        assert len(tally.read_text().split()) == 1  # to find out what there is
        for _ in range(3):
            await client.call_tool("lazy__bump")
            assert len(tally.read_text().split()) == 2


async def test_leaving_ends_children_that_cling_to_life_and_what_they_started(
    raw: Any, open_gateway: Any, tmp_path: Path
) -> None:
    file = tmp_path / "pids"
    async with open_gateway(raw("parent", "grandchild", str(file)), raw("clinging", "clinging")) as opened:
        await opened.discovered()
        clinging = [connection._transport.child.pid for connection in opened.providers["clinging"].pool._all]
        numbers = [int(number) for number in file.read_text().split()]
        assert all(alive(number) for number in numbers + clinging)
    await gone(*numbers, *clinging, seconds=1)


WORKER = """
import asyncio, sys
from switchboard.backends import Backend, BackendProvider, Stdio, Watchdog
class Host:
    worker = "w1"
    def streams(self): return ()
    async def publish(self, event): print("found", flush=True)
async def main():
    async with Watchdog().running() as watchdog:
        backend = Backend("doomed", Stdio(sys.executable, tuple(sys.argv[1:]), era="handshake"))
        async with BackendProvider(backend, watchdog).running(Host()):
            await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_nothing_outlives_a_worker_that_is_killed(raw: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    child = raw("x", "grandchild", str(file)).transport.args
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, *child, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        while b"found" not in await worker.stdout.readline():
            pass
    numbers = [int(number) for number in file.read_text().split()]
    assert all(alive(number) for number in numbers)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await gone(*numbers)


async def test_a_watchdog_that_was_ended_is_replaced_and_guards_what_there_is() -> None:
    children = [await asyncio.create_subprocess_exec("/bin/sleep", "300", start_new_session=True) for _ in range(2)]
    try:
        async with Watchdog().running() as watchdog:
            watchdog.guard(children[0].pid)
            first = watchdog.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await gone(first)
            watchdog.guard(children[1].pid)
            assert watchdog.pid != first
        # The pipe has closed with children in it, as it does when a worker is killed.
        async with asyncio.timeout(60):
            assert [await child.wait() for child in children] == [-signal.SIGTERM] * 2
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()


async def test_a_backend_that_hangs_at_its_start_delays_neither_the_list_nor_the_others(
    raw: Any, open_gateway: Any
) -> None:
    many = [raw(f"b{number}") for number in range(5)]
    async with open_gateway(raw("stuck", "mute"), *many) as opened, Client(opened.server) as client:
        async with asyncio.timeout(HASTE.start / 2):
            await client.list_tools()
        await opened.discovered(*(backend.name for backend in many))
        names = {tool.name.split("__")[0] for tool in (await client.list_tools(cache_mode="refresh")).tools}
        assert names == {backend.name for backend in many}


async def test_clients_are_told_only_of_lists_that_changed(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("tools")) as opened:
        await opened.discovered()
        await opened.until(lambda: bool(opened.host.events))
    assert opened.host.events == [ToolsListChanged()]


async def test_tools_that_a_server_shows_only_to_clients_that_can_be_asked_are_offered(
    raw: Any, open_gateway: Any
) -> None:
    async with open_gateway(raw("choosy", "choosy")) as opened, Client(opened.server) as client:
        await opened.discovered()
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["choosy__ask-for-elicitation", "choosy__ask-for-roots", "choosy__ask-for-sampling"]
