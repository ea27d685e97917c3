from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from switchboard.config.overlay import Overlay


async def said(client: Client, tool: str) -> list[str]:
    """Who answered: name, process, greeting."""
    return str((await client.call_tool(tool)).content[0].text).split(" ")  # type: ignore[union-attr]


async def test_the_servers_of_a_desktop_file_are_served(setup: Any, until: Any, listed: Any) -> None:
    setup.write(
        {"My Server": setup.server("a", env={"GREETING": "${HELLO:-hi}"}), "off": {"command": "x", "disabled": True}}
    )
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["My-Server__who"]))
    async with Client(url) as client:
        assert (await said(client, "My-Server__who"))[::2] == ["a", "hi"]
    async with Client(url, mode="legacy") as client:
        assert client.instructions == "My-Server: I am a"


async def listed_is(listed: Any, url: str, names: list[str]) -> bool:
    found: list[str] = await listed(url)
    return found == names


async def test_one_that_cannot_start_and_one_that_hangs_keep_nobody_waiting(
    setup: Any, until: Any, listed: Any
) -> None:
    hanging = {f"slow{number}": setup.server("s", wait=600) for number in range(3)}
    setup.write({"gone": {"command": "no-such-program"}, **hanging, "good": setup.server("good")})
    url = await setup.start()
    async with asyncio.timeout(120):
        await listed(url)
    await until(lambda: listed_is(listed, url, ["good__who"]))
    upstreams = {server.name: server for server in setup.apps[0].rooms.servers.servers}
    assert upstreams["gone"].phase == "failed"
    assert upstreams["gone"].reason == "gone: the program 'no-such-program' is not on the PATH"
    assert upstreams["good"].phase == "running"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_changed_file_changes_only_what_it_is_about_and_no_session_ends(
    setup: Any, until: Any, mode: str
) -> None:
    setup.write({"a": setup.server("a"), "b": setup.server("b")})
    url = await setup.start()
    async with Client(url, mode=mode) as client:
        await until(lambda: sees(client, ["a__who", "b__who"]))
        before = await said(client, "b__who")
        setup.write(
            {"c": setup.server("c"), "b": setup.server("b", tags=["kept"]), "a": setup.server("a", tool="other")}
        )
        await until(lambda: sees(client, ["c__who", "b__who", "a__other"]))
        assert await said(client, "b__who") == before
        assert (await said(client, "c__who"))[0] == "c"


async def sees(client: Client, names: list[str]) -> bool:
    return [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools] == names


@pytest.mark.parametrize("scope", ["shared", "session"])
async def test_a_server_that_changes_while_it_is_called_fails_no_call(setup: Any, until: Any, scope: str) -> None:
    def configured(greeting: str) -> dict[str, Any]:
        return {"a": setup.server("a", scope=scope, env={"GREETING": greeting})}

    setup.write(configured("first"))
    url = await setup.start()
    async with Client(url, mode="legacy") as client:
        await until(lambda: sees(client, ["a__who"]))
        for greeting in ("second", "third", "fourth"):
            setup.write(configured(greeting))
            async with asyncio.timeout(60):
                while (await said(client, "a__who"))[-1] != greeting:  # each call is answered, by the one or the other
                    assert await sees(client, ["a__who"])


async def test_a_file_with_a_mistake_changes_nothing_and_a_mended_one_does(setup: Any, until: Any, listed: Any) -> None:
    setup.write({"a": setup.server("a")})
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["a__who"]))
    watched = setup.apps[0].rooms.watched
    setup.write({"a": {"command": "x", "colour": "red"}})
    await until(lambda: watched.problem)
    assert "mcpServers.a.colour" in watched.problem
    setup.write({"a": setup.server("a")}, plugins={"no-such-plugin": {}})
    await until(lambda: "no-such-plugin" in watched.problem)
    assert await listed(url) == ["a__who"]
    setup.write({"a": setup.server("a", prefix="never")})
    await until(lambda: listed_is(listed, url, ["who"]))
    assert watched.problem is None


async def test_presets_tags_renames_and_search_come_with_the_file_and_change_with_it(
    setup: Any, until: Any, listed: Any
) -> None:
    servers = {"a": setup.server("a", tags=["web"], rename={"who": "whoami"}), "b": setup.server("b")}
    setup.write(servers, presets={"dev": {"servers": ["b"]}})
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["a__whoami", "b__who"]))
    assert await listed(f"{url}?preset=dev") == ["b__who"]
    assert await listed(f"{url}?tags=web", "legacy") == ["a__whoami"]
    assert await listed(f"{url}?preset=dev", "legacy") == ["b__who"]
    sse = url.removesuffix("mcp") + "sse"
    for query, seen in (("", ["a__whoami", "b__who"]), ("?preset=dev", ["b__who"]), ("?tags=web", ["a__whoami"])):
        async with Client(sse_client(f"{sse}{query}"), mode="legacy") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == seen
    setup.write(servers, presets={"dev": {"tags": "web"}}, tool_search={"enabled": True})
    await until(lambda: listed_is(listed, f"{url}?preset=dev", ["discover_tools", "call_tool"]))
    async with Client(f"{url}?preset=dev") as client:
        found = await client.call_tool("discover_tools", {"query": "who"})
        assert [tool["name"] for tool in (found.structured_content or {})["tools"]] == ["a__whoami"]
        assert (await said(client, "a__whoami"))[0] == "a"


@pytest.mark.parametrize(
    ("query", "says"), [("preset=gone", "there is no preset 'gone'; there are: dev"), ("tags=,", "not a list of tags")]
)
async def test_a_url_with_a_preset_that_there_is_not_is_404(setup: Any, query: str, says: str) -> None:
    setup.write({}, presets={"dev": {}})
    url = await setup.start()
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{url}?{query}", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        opened = await http.get(f"{url.removesuffix('mcp')}sse?{query}", headers={"accept": "text/event-stream"})
    for refused in (answer, opened):
        assert refused.status_code == 404
        assert says in refused.json()["error"]["message"]


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_tool_that_needs_scopes_is_403_naming_them_all(
    setup: Any, until: Any, listed: Any, version: str
) -> None:
    rule = {"tools": {"who": {"scopes": ["ops:write", "ops:read"]}}}
    setup.write({"a": setup.server("a", **rule)})
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["a__who"]))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__who"}}
    headers = {"MCP-Protocol-Version": version, "Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient() as http:
        answer = await http.post(url, json=call, headers=headers)
    assert answer.status_code == 403
    assert "mcp:tools ops:read ops:write" in answer.json()["error"]["message"]


async def test_a_change_of_the_overlay_reaches_workers_whose_files_differ(
    setup: Any, until: Any, listed: Any, redis_url: str
) -> None:
    setup.write({"a": setup.server("a")})
    first = await setup.start(redis_url=redis_url)
    other = setup.file.with_name("other.json")
    other.write_text(setup.file.read_text().replace('"a"', '"b"'))
    second = await setup.start(redis_url=redis_url, config_file=other)
    await until(lambda: listed_is(listed, first, ["a__who"]))
    await until(lambda: listed_is(listed, second, ["b__who"]))
    overlay = Overlay(setup.apps[0].rooms.state)
    began = time.monotonic()
    await overlay.change({"mcpServers": {"new": setup.server("new")}})
    await asyncio.gather(
        until(lambda: listed_is(listed, first, ["a__who", "new__who"])),
        until(lambda: listed_is(listed, second, ["b__who", "new__who"])),
    )
    assert time.monotonic() - began < 30
    await overlay.change({"mcpServers": {"a": None}})
    await until(lambda: listed_is(listed, first, ["new__who"]))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("count", [1, 2])
async def test_a_server_that_was_disabled_and_enabled_again_comes_back_on_every_worker(
    setup: Any, until: Any, listed: Any, redis_url: str, count: int, mode: str
) -> None:
    on = {"a": setup.server("a"), "b": setup.server("b")}
    off = {**on, "a": setup.server("a", enabled=False)}
    setup.write(on)
    urls = [await setup.start(redis_url=redis_url if count > 1 else None) for _ in range(count)]

    async def served(*names: str) -> None:
        await asyncio.gather(*(until(lambda url=url: listed_is(listed, url, list(names))) for url in urls))

    await served("a__who", "b__who")
    for _ in range(2):
        setup.write(off)
        await served("b__who")
        setup.write({**off, "b": setup.server("b", tags=["kept"])})  # something else changes: it stays disabled
        await until(lambda: all("kept" in str(app.rooms.watched.current) for app in setup.apps))
        await served("b__who")
        setup.write(on)
        await served("a__who", "b__who")
    async with Client(urls[-1], mode=mode) as client:
        assert (await said(client, "a__who"))[0] == "a"


async def test_a_server_that_was_changed_or_removed_while_it_was_disabled_comes_back_as_it_is_written(
    setup: Any, until: Any, listed: Any
) -> None:
    setup.write({"a": setup.server("a", enabled=False)})
    url = await setup.start()

    def rows() -> dict[str, str]:
        return {server.name: server.phase for server in setup.apps[0].rooms.servers.servers}

    await until(lambda: rows() == {"a": "disabled"})
    setup.write({"a": setup.server("a", "other", enabled=False)})
    await until(lambda: "other" in str(setup.apps[0].rooms.watched.current))
    setup.write({"a": setup.server("a", "other")})
    await until(lambda: listed_is(listed, url, ["a__other"]))
    setup.write({"a": setup.server("a", "other", enabled=False)})
    await until(lambda: rows() == {"a": "disabled"})
    setup.write({})
    await until(lambda: rows() == {})
    setup.write({"a": setup.server("a", "other")})
    await until(lambda: listed_is(listed, url, ["a__other"]))
    assert not setup.apps[0].rooms.servers.restart("gone")
    assert setup.apps[0].rooms.servers.restart("a")
    setup.write({"a": setup.server("a", "other", enabled=False)})
    await until(lambda: rows() == {"a": "disabled"})
    assert not setup.apps[0].rooms.servers.restart("a")
    setup.write({"a": setup.server("a", "other")})
    await until(lambda: listed_is(listed, url, ["a__other"]))


async def test_a_person_s_own_variable_folder_and_argument_come_from_the_file(
    setup: Any, until: Any, listed: Any
) -> None:
    row = setup.server("a", scope="user", env={"GREETING": "${user}/${HELLO:-hi}"}, cwd=str(setup.folder / "${user}"))
    setup.write({"a": row, "b": setup.server("b", env={"GREETING": "${user}"})})
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["a__who"]))
    async with Client(url, mode="legacy") as client:
        digest, hello = (await said(client, "a__who"))[-1].split("/")
    assert (len(digest), hello) == (32, "hi")
    assert (setup.folder / digest).is_dir()
    upstreams = {server.name: server.phase for server in setup.apps[0].rooms.servers.servers}
    assert upstreams == {"a": "running"}  # the shared one is refused, and stops only itself
    problem = setup.apps[0].rooms.watched.problem
    assert "mcpServers.b" in str(problem)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_tool_of_a_server_that_never_started_says_why_instead_of_being_unknown(
    setup: Any, until: Any, listed: Any, mode: str
) -> None:
    exits = {"command": sys.executable, "args": ["-c", "import sys; sys.exit('Error: no such database')"]}
    servers = {"gone": {"command": "no-such-program"}, "exits": exits, "slow": setup.server("s", wait=600)}
    off = {"off": setup.server("off", enabled=False)}
    setup.write({**servers, **off, "good": setup.server("good")}, presets={"some": {"servers": ["good"]}})
    url = await setup.start()
    await until(lambda: listed_is(listed, url, ["good__who"]))
    rows = setup.apps[0].rooms.servers.tell
    await until(lambda: all(row["reason"] for row in rows()["servers"] if row["name"] in ("gone", "exits")))
    expected = {
        "gone__who": "Backend 'gone': it could not be made ready: gone: the program 'no-such-program' is not on the",
        "exits__who": "Backend 'exits': it has not started yet: it exited with 1: Error: no such database",
        "slow__who": "Backend 'slow': it has not started yet",
        "off__who": "Unknown tool: off__who",
        "good__other": "Unknown tool: good__other",
        "nothing__who": "Unknown tool: nothing__who",
    }
    async with Client(url, mode=mode) as client:
        for name, says in expected.items():
            with pytest.raises(MCPError, match=re.escape(says)) as caught:
                await client.call_tool(name)
            assert caught.value.error.code == (-32602 if says.startswith("Unknown") else -32010)
    async with Client(f"{url}?preset=some", mode=mode) as client:
        with pytest.raises(MCPError, match="Unknown tool: exits__who"):
            await client.call_tool("exits__who")
