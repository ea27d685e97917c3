from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import Configuration
from switchboard.config.overlay import Overlay
from switchboard.config.watching import WatchedConfiguration
from switchboard.errors import ConfigurationError
from switchboard.state import open_state

WriteFile = Callable[[str, str], Path]
PATIENCE_S = 300


@asynccontextmanager
async def following(watched: WatchedConfiguration) -> AsyncIterator[Callable[[], Any]]:
    """Follow it; what comes into force is got one by one."""
    arrived: asyncio.Queue[Configuration] = asyncio.Queue()

    async def take() -> Configuration:
        async with asyncio.timeout(PATIENCE_S):
            return await arrived.get()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watched.follow(arrived.put))
        try:
            yield take
        finally:
            task.cancel()


def replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_written_file_comes_into_force(write: WriteFile) -> None:
    path = write("c.json", "{}")
    watched = WatchedConfiguration(path, dict)
    await watched.load()
    async with following(watched) as take:
        replace(path, '{"separator": "."}')
        assert (await take()).separator == "."
        assert watched.current.separator == "."


async def test_what_is_not_valid_is_said_and_the_last_good_configuration_stays(
    write: WriteFile,
) -> None:
    path = write("c.json", '{"separator": "."}')
    watched = WatchedConfiguration(path, dict)
    await watched.load()
    async with following(watched) as take:
        replace(path, '{"separator": "a b"}')
        await until(lambda: watched.problem)
        assert "separator" in str(watched.problem)
        assert watched.current.separator == "."
        replace(path, '{"separator": "-"}')
        assert (await take()).separator == "-"
        assert watched.problem is None


async def test_a_row_that_is_wrong_now_keeps_its_server_as_it_was_and_others_change(write: WriteFile) -> None:
    path = write("c.json", '{"mcpServers": {"a": {"command": "one"}, "b": {"command": "one"}}}')
    watched = WatchedConfiguration(path, dict)
    await watched.load()
    async with following(watched) as take:
        replace(path, '{"mcpServers": {"a": {"command": "two", "colour": 1}, "b": {"command": "two"}}}')
        found = await take()
        assert {name: section.command for name, section in found.servers.items()} == {"a": "one", "b": "two"}
        await until(lambda: watched.problem)
        assert "mcpServers.a.colour: is not a known key" in str(watched.problem)
        replace(path, '{"mcpServers": {"a": {"command": "two"}, "b": {"command": "two"}}}')
        assert (await take()).servers["a"].command == "two"
        await until(lambda: watched.problem is None)


async def test_a_row_that_is_wrong_at_the_start_leaves_out_its_server_until_it_is_mended(write: WriteFile) -> None:
    path = write("c.json", '{"mcpServers": {"a": {"command": 7}, "b": {"command": "one"}}}')
    watched = WatchedConfiguration(path, dict)
    assert list((await watched.load()).servers) == ["b"]
    assert "mcpServers.a.command: must be a text" in str(watched.problem)
    async with following(watched) as take:
        replace(path, '{"mcpServers": {"a": {"command": "one"}, "b": {"command": "one"}}}')
        assert set((await take()).servers) == {"a", "b"}


async def test_a_change_of_the_overlay_comes_into_force_without_a_file() -> None:
    async with open_state(None) as state:
        overlay = Overlay(state)
        watched = WatchedConfiguration(None, dict, overlay)
        assert await watched.load() == Configuration()
        async with following(watched) as take:
            await overlay.change({"separator": "."})
            assert (await take()).separator == "."


async def test_there_is_no_earlier_configuration_to_keep_at_the_start(write: WriteFile) -> None:
    with pytest.raises(ConfigurationError):
        await WatchedConfiguration(write("c.json", "["), dict).load()
