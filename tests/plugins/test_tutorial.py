"""docs/plugins.md is run: what it says to write is written, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path

from mcp import Client

from switchboard.config import PluginSection
from switchboard.plugins import PluginLoader, PluginSources
from switchboard.plugins.testing import served

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def files(folder: Path) -> None:
    """Write each block that begins with the name of a file."""
    for name, code in re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)


async def called(
    folder: Path,
    name: str,
    tool: str,
    config: dict[str, object],
    entered: dict[str, str] | None = None,
    **arguments: str,
) -> str:
    code = PluginSources(folder / "plugins").find([name])[name]
    plugin = PluginLoader.declared(code, PluginSection(), code.load())
    async with served(plugin, config=config, credentials=entered) as server, Client(server) as client:
        return str((await client.call_tool(tool, arguments)).content[0].text)  # type: ignore[union-attr]


async def test_the_first_tool_works_as_it_is_written(tmp_path: Path) -> None:
    files(tmp_path)
    assert PluginSources(tmp_path / "plugins").in_folder() == ("hello", "letters", "weather")
    assert await called(tmp_path, "hello", "greet", {}, who="Ada") == "Hello, Ada!"


async def test_the_configuration_of_the_second_is_what_its_command_says(tmp_path: Path) -> None:
    files(tmp_path)
    words = re.search(r"plugins configure weather (.*)", PAGE)
    assert words is not None
    config: dict[str, object] = {
        key: int(value) if value.isdigit() else value for key, value in (pair.split("=") for pair in words[1].split())
    }
    assert await called(tmp_path, "weather", "forecast", config) == "Bergen: rain for 3 days"


async def test_what_a_person_entered_is_what_the_third_uses(tmp_path: Path) -> None:
    files(tmp_path)
    assert await called(tmp_path, "letters", "send", {}, {"api_key": "abcdef42"}, text="Hi") == (
        "sent with the key that ends in 42: Hi"
    )
