"""Plugins in a worker that serves: enabled, configured and changed while sessions are open, and failing."""

from __future__ import annotations

import asyncio
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

NO_DEMO = {"everything": {"enabled": False}}

HELLO = """
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel
from switchboard.plugins import Plugin

class Settings(BaseModel):
    word: str = "hello"

def serve(context):
    server = MCPServer("hello")

    @server.tool()
    def greet() -> str:
        return context.config.word

    return server

plugin = Plugin("hello", "1", serve, config=Settings)
"""

ODD = """
import asyncio, sys
from contextlib import asynccontextmanager
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

server = MCPServer("odd")
breaking = asyncio.Event()

@server.tool()
def fine() -> str:
    return "fine"

@server.tool()
async def ends(how: str) -> str:
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit()}[how]

@server.tool()
def ends_in_a_thread() -> str:
    sys.exit(4)

@server.tool()
async def breaks() -> str:
    breaking.set()
    return "it will"

@asynccontextmanager
async def running(host):
    async def work():
        await breaking.wait()
        raise KeyError("background")

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work())
        yield
        task.cancel()
        if STOP_FAILS:
            raise OSError("no stop")

async def start(context):
    if START_FAILS:
        raise OSError("no start")

plugin = Plugin("odd", "1", server, running=running, start=start)
"""


def odd(**flags: bool) -> str:
    known = {"START_FAILS": False, "STOP_FAILS": False, **flags}
    return "\n".join(f"{name} = {value}" for name, value in known.items()) + ODD


@pytest.fixture
def plugins(setup: Any) -> Callable[[str, str], Path]:
    """`plugins(file, code)`: a file of the plugins folder of every worker, replaced in one step."""
    (setup.folder / "plugins").mkdir(exist_ok=True)

    def writing(file: str, code: str) -> Path:
        path = Path(setup.folder / "plugins" / file)
        path.parent.mkdir(exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(textwrap.dedent(code))
        return beside.replace(path)

    return writing


async def start(setup: Any, **given: Any) -> str:
    url: str = await setup.start(plugins_dir=setup.folder / "plugins", **given)
    return url


async def said(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    return str(result.content[0].text)  # type: ignore[union-attr]


def phases(setup: Any) -> dict[str, str]:
    return {each.name: each.phase for each in setup.apps[0].rooms.servers.plugins if each.phase != "disabled"}


def reason(setup: Any, name: str) -> str:
    return next(str(each.problem) for each in setup.apps[0].rooms.servers.plugins if each.name == name)


async def offers(client: Client, *names: str) -> bool:
    listed = {tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools}
    return listed == set(names)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_plugin_comes_changes_and_goes_with_its_file_and_no_session_ends(
    setup: Any, plugins: Any, until: Any, mode: str
) -> None:
    setup.write({})
    url = await start(setup)
    async with Client(url, mode=mode) as client:
        path = plugins("hello.py", HELLO)
        await until(lambda: offers(client, "hello__greet"))
        assert await said(client, "hello__greet") == "hello"
        plugins("hello.py", HELLO.replace('"hello"\n\ndef', '"welcome"\n\ndef'))
        await until(lambda: answers(client, "welcome"))
        path.unlink()
        await until(lambda: offers(client))


async def answers(client: Client, word: str) -> bool:
    return await said(client, "hello__greet") == word


async def test_a_configuration_changes_a_plugin_and_a_wrong_one_leaves_it(setup: Any, plugins: Any, until: Any) -> None:
    plugins("hello.py", HELLO)
    setup.write({})
    url = await start(setup)
    async with Client(url, mode="legacy") as client:
        assert await said(client, "hello__greet") == "hello"
        setup.write({}, plugins={**NO_DEMO, "hello": {"config": {"word": "good day"}}})
        await until(lambda: answers(client, "good day"))
        setup.write({}, plugins={**NO_DEMO, "hello": {"config": {"word": 3}}})
        await until(lambda: reason(setup, "hello"))
        assert reason(setup, "hello") == "plugins.hello.config: word must be a text"
        assert await said(client, "hello__greet") == "good day"
        setup.write({}, plugins={**NO_DEMO, "hello": {"config": {"word": "bye"}}})
        await until(lambda: answers(client, "bye"))
        assert reason(setup, "hello") == ""
        setup.write({}, plugins={**NO_DEMO, "hello": {"enabled": False}})
        await until(lambda: offers(client))


async def test_the_overlay_enables_configures_and_disables_a_plugin(setup: Any, plugins: Any, until: Any) -> None:
    plugins("hello.py", HELLO)
    setup.write({}, plugins={**NO_DEMO, "hello": {"enabled": False}})
    url = await start(setup)
    overlay = setup.apps[0].rooms.watched._overlay
    async with Client(url, mode="legacy") as client:
        assert await offers(client)
        await overlay.change({"plugins": {"hello": {"enabled": True, "config": {"word": "over"}}}})
        await until(lambda: offers(client, "hello__greet"))
        assert await said(client, "hello__greet") == "over"
        await overlay.change({"plugins": {"hello": {"enabled": False}}})
        await until(lambda: offers(client))


async def test_code_that_fails_leaves_what_runs_and_is_reported_until_it_is_mended(
    setup: Any, plugins: Any, until: Any
) -> None:
    plugins("hello.py", HELLO)
    setup.write({})
    url = await start(setup)
    async with Client(url, mode="legacy") as client:
        plugins("hello.py", "1 / 0")
        await until(lambda: reason(setup, "hello"))
        assert reason(setup, "hello") == "plugins.hello: ZeroDivisionError: division by zero"
        assert await said(client, "hello__greet") == "hello"
        async with httpx2.AsyncClient() as http:
            ready = (await http.get(url.removesuffix("mcp") + "readyz")).json()
        assert ready["status"] == "ready"
        assert any(
            "the plugin hello has failed: plugins.hello: ZeroDivisionError" in each for each in ready["warnings"]
        )
        plugins("hello.py", HELLO.replace('"hello"\n\ndef', '"mended"\n\ndef'))
        await until(lambda: answers(client, "mended"))
        assert reason(setup, "hello") == ""


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise OSError('no import')", "plugins.odd: OSError: no import"),
        ("import sys; sys.exit(1)", "plugins.odd: SystemExit: 1"),
        (odd(START_FAILS=True), "odd did not start: OSError: no start"),
        (
            odd()
            .replace('Plugin("odd", "1"', 'Plugin("odd", "1", dependencies=("gone",)')
            .replace('dependencies=("gone",), server', 'server, dependencies=("gone",)'),
            "it depends on the plugin 'gone', which is not enabled: set plugins.gone.enabled",
        ),
    ],
)
async def test_a_worker_starts_without_a_plugin_that_cannot_and_says_why(
    setup: Any, plugins: Any, code: str, why: str
) -> None:
    plugins("hello.py", HELLO)
    plugins("odd.py", code)
    setup.write({})
    url = await start(setup)
    assert phases(setup) == {"hello": "running", "odd": "failed"}
    assert reason(setup, "odd") == why
    async with Client(url, mode="legacy") as client:
        assert await offers(client, "hello__greet")
        with pytest.raises(MCPError, match="Plugin 'odd' has failed; its operator can see why"):
            await client.call_tool("odd__fine")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_handler_that_would_end_the_process_fails_alone(setup: Any, plugins: Any, mode: str) -> None:
    plugins("odd.py", odd())
    setup.write({})
    url = await start(setup)
    async with Client(url, mode=mode) as client:
        for how in ("exit", "interrupt", "generator"):
            with pytest.raises(MCPError, match="tools/call failed: odd__ends"):
                await client.call_tool("odd__ends", {"how": how})
        with pytest.raises(MCPError, match="tools/call failed: odd__ends_in_a_thread"):
            await client.call_tool("odd__ends_in_a_thread")
        assert await said(client, "odd__fine") == "fine"


async def test_background_work_that_breaks_ends_its_plugin_alone_until_it_is_reloaded(
    setup: Any, plugins: Any, until: Any
) -> None:
    plugins("hello.py", HELLO)
    plugins("odd.py", odd())
    setup.write({})
    url = await start(setup)
    async with Client(url, mode="legacy") as client:
        assert await said(client, "odd__fine") == "fine"
        await said(client, "odd__breaks")
        await until(lambda: reason(setup, "odd"))
        assert reason(setup, "odd") == "did not run on: KeyError: 'background'"
        with pytest.raises(MCPError, match="odd has failed"):
            await client.call_tool("odd__fine")
        assert await said(client, "hello__greet") == "hello"
        assert await setup.apps[0].rooms.servers.reload(["odd"])
        assert await said(client, "odd__fine") == "fine"
        assert phases(setup) == {"hello": "running", "odd": "running"}


async def test_a_plugin_that_does_not_stop_is_said_and_gone(
    setup: Any, plugins: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plugins("odd.py", odd(STOP_FAILS=True))
    setup.write({})
    url = await start(setup)
    async with Client(url, mode="legacy") as client:
        assert await said(client, "odd__fine") == "fine"
        setup.write({}, plugins={**NO_DEMO, "odd": {"enabled": False}})
        await until(lambda: offers(client))
    await until(lambda: "odd broke" in caplog.text)
    assert "odd did not stop: OSError: no stop" in caplog.text


async def test_a_reload_that_does_not_start_leaves_the_one_before(setup: Any, plugins: Any) -> None:
    plugins("odd.py", odd())
    setup.write({})
    url = await start(setup, plugins_reload=False)
    servers = setup.apps[0].rooms.servers
    async with Client(url, mode="legacy") as client:
        plugins("odd.py", odd(START_FAILS=True))
        assert await servers.reload(["odd"])
        assert reason(setup, "odd") == "odd did not start: OSError: no start"
        assert await said(client, "odd__fine") == "fine"
        plugins("odd.py", odd().replace('"fine"', '"finer"'))
        assert await servers.reload(["odd"])
        assert await said(client, "odd__fine") == "finer"
    assert not await servers.reload(["nothing"])


async def test_calls_that_are_served_end_before_their_plugin_does(setup: Any, plugins: Any) -> None:
    slow = HELLO.replace("def greet() -> str:", "async def greet() -> str:\n        await WAIT()").replace(
        "def serve",
        "import asyncio, pathlib\nasync def WAIT():\n    pathlib.Path(MARK).touch()\n"
        "    while not pathlib.Path(GO).exists():\n        await asyncio.sleep(0.01)\n\ndef serve",
    )
    mark, go = setup.folder / "mark", setup.folder / "go"
    plugins("hello.py", f"MARK, GO = {str(mark)!r}, {str(go)!r}\n" + slow)
    setup.write({})
    url = await start(setup, plugins_reload=False)
    async with Client(url, mode="legacy") as client, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(said(client, "hello__greet"))
        while not mark.exists():
            await asyncio.sleep(0.01)
        plugins("hello.py", HELLO.replace('"hello"\n\ndef', '"next"\n\ndef'))
        await setup.apps[0].rooms.servers.reload(["hello"])
        assert await said(client, "hello__greet") == "next"
        go.touch()
    assert waiting.result() == "hello"


async def test_what_a_worker_tells_has_its_plugins(setup: Any, plugins: Any) -> None:
    path = plugins("hello.py", HELLO)
    setup.write({})
    await start(setup)
    told = {each["name"]: each for each in setup.apps[0].rooms.servers.tell()["plugins"]}
    assert json.loads(json.dumps(told["hello"])) == {
        "name": "hello",
        "version": "1",
        "description": "",
        "where": str(path),
        "isolation": "none",
        "phase": "running",
        "serving": True,
        "reason": "",
        "notes": [],
    }
    assert told["everything"]["phase"] == "disabled"
