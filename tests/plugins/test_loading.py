"""From a plugin's code and its section to a provider."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, Field, field_validator

from switchboard.config import PluginSection
from switchboard.errors import ConfigurationError, PluginFailure
from switchboard.plugins import Plugin, PluginContext, PluginLoader, PluginProvider, PluginSources
from switchboard.plugins.loading import start_order
from switchboard.plugins.testing import MemoryCredentials

Install = Callable[[str, str], None]
Write = Callable[[str, str], Path]

GOOD = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

def make(config):
    return Plugin("good", config.get("version", "1"), MCPServer("good"))
"""
MIDDLEWARE = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

async def guard(ctx, call_next):
    return await call_next(ctx)

def make(config):
    return Plugin("guarded", "1", MCPServer("guarded", middleware=[guard]))
"""
HELLO = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

server = MCPServer("hello")

@server.tool()
def hello() -> str:
    return "WORD"

plugin = Plugin("hello", "1", server)
"""


def loader() -> PluginLoader:
    return PluginLoader(lambda _plugin, _section: MemoryCredentials())


def load(name: str, section: PluginSection | None = None, folder: Path | None = None) -> PluginProvider:
    section = section or PluginSection()
    code = PluginSources(folder).find([name])[name]
    return loader().provider(PluginLoader.declared(code, section, code.load()), section)


async def says(provider: PluginProvider, tool: str) -> Any:
    async with Client(provider._server) as client:
        return (await client.call_tool(tool, {})).content[0].text  # type: ignore[union-attr]


def test_a_factory_is_called_with_the_configuration(install: Install) -> None:
    install("good", GOOD)
    provider = load("good", PluginSection(config={"version": "7"}))
    assert (provider.name, provider.version) == ("good", "7")


def test_a_plugin_that_is_not_asked_for_is_not_even_imported(install: Install, write: Write, tmp_path: Path) -> None:
    install("broken", "raise RuntimeError('imported')")
    write("broken_too.py", "raise RuntimeError('imported')")
    assert {"broken", "broken-too", "everything"} <= set(PluginSources(tmp_path / "plugins").code())


def test_an_unknown_plugin_is_named_with_those_that_are_there(install: Install, write: Write, tmp_path: Path) -> None:
    install("good", GOOD)
    write("hello.py", HELLO)
    with pytest.raises(ConfigurationError, match=r"plugins\.nope: no such plugin.*everything.*good.*hello"):
        PluginSources(tmp_path / "plugins").find(["nope"])


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("raise RuntimeError('no import')", "RuntimeError: no import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def make(config):\n    raise KeyError('token')", "KeyError: 'token'"),
        ("def make(config):\n    raise GeneratorExit", "GeneratorExit"),
        ("def make(config):\n    return 3", "returned int, not a Plugin"),
        (GOOD, "calls itself 'good'"),
        ("", "has no attribute 'make'"),
        ("make = 3", "is int, not a Plugin"),
        (MIDDLEWARE, "brings middleware \\(function\\)"),
    ],
)
def test_a_plugin_that_cannot_be_mounted_is_named_with_the_reason(install: Install, code: str, complaint: str) -> None:
    install("guarded", code)
    with pytest.raises(PluginFailure, match=rf"plugins\.guarded: .*{complaint}"):
        load("guarded")


@pytest.mark.parametrize("file", ["hello.py", "hello/__init__.py"])
async def test_the_folder_has_a_plugin_in_a_file_or_a_package(write: Write, tmp_path: Path, file: str) -> None:
    write(file, HELLO)
    write("_helper.py", "")
    write("test_hello.py", "")
    write("Not A Name.py", "")
    sources = PluginSources(tmp_path / "plugins")
    assert sources.in_folder() == ("hello",)
    assert await says(load("hello", folder=tmp_path / "plugins"), "hello") == "WORD"


def test_a_package_may_have_modules_and_a_name_with_hyphens(write: Write, tmp_path: Path) -> None:
    write("two_words/__init__.py", HELLO.replace('"hello"', '"two-words"') + "\nfrom .part import VERSION\n")
    write("two_words/part.py", "VERSION = 1")
    assert load("two-words", folder=tmp_path / "plugins").name == "two-words"


async def test_code_that_changed_is_read_anew_with_all_its_modules(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    write("hello/__init__.py", HELLO.replace('return "WORD"', "return word.WORD") + "\nfrom . import word\n")
    write("hello/word.py", "WORD = 'one'")
    assert await says(load("hello", folder=folder), "hello") == "one"
    write("hello/word.py", "WORD = 'two'")  # within the second, and as long: a compiled copy would still count
    assert await says(load("hello", folder=folder), "hello") == "two"


def test_code_that_cannot_be_read_anew_leaves_the_former_modules(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    write("hello.py", HELLO)
    load("hello", folder=folder)
    before = sys.modules["switchboard_plugin_hello"]
    write("hello.py", "1 / 0")
    with pytest.raises(PluginFailure, match=r"plugins\.hello: ZeroDivisionError"):
        load("hello", folder=folder)
    assert sys.modules["switchboard_plugin_hello"] is before


def test_a_file_with_the_name_of_an_installed_plugin_is_not_used(write: Write, tmp_path: Path) -> None:
    write("everything.py", "raise RuntimeError")
    assert load("everything", folder=tmp_path / "plugins").name == "everything"


def test_a_folder_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        PluginSources(folder).in_folder()
    folder.rmdir()
    folder.write_text("")
    with pytest.raises(ConfigurationError, match="is no folder"):
        PluginSources(folder).in_folder()


class City(BaseModel, extra="forbid"):
    name: str
    days: int = Field(1, ge=1, le=10)
    secret: str = "none"

    @field_validator("secret")
    @classmethod
    def _checked(cls, value: str) -> str:
        if value == "crash":
            raise RuntimeError("a validator that is wrong itself")
        return value


def planned(context: PluginContext[City]) -> MCPServer:
    server = MCPServer("weather")

    @server.tool()
    def where() -> str:
        """Where, and for how long."""
        return f"{context.id} {context.config.name} {context.config.days}"

    return server


async def test_a_server_is_made_from_the_plugins_own_model_of_its_configuration() -> None:
    plugin = Plugin("weather", "1", planned, config=City)
    provider = loader().provider(plugin, PluginSection(config={"name": "Oslo", "days": 3}))
    assert await says(provider, "where") == "weather Oslo 3"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, "plugins.weather.config: name is missing"),
        (
            {"name": 3, "days": 11},
            "plugins.weather.config: name must be a text; days must be at most 10",
        ),
        ({"name": "Oslo", "key": "very-secret"}, "plugins.weather.config: key is not known"),
        ({"name": "Oslo", "secret": "crash"}, "plugins.weather: RuntimeError: a validator that is wrong itself"),
    ],
)
def test_a_wrong_configuration_names_each_field_and_the_reason(config: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loader().provider(Plugin("weather", "1", planned, config=City), PluginSection(config=config))
    assert str(caught.value) == complaint


@pytest.mark.parametrize(("made", "said"), [(3, "made int, not an MCPServer"), (KeyError("x"), "KeyError: 'x'")])
def test_a_function_that_makes_no_server_is_named(made: Any, said: str) -> None:
    def serve(_context: PluginContext[Any]) -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.raises(PluginFailure, match=said):
        loader().provider(Plugin("odd", "1", serve), PluginSection())


def test_plugins_are_started_after_those_that_they_depend_on() -> None:
    order = start_order({"a": ("b", "c"), "b": ("c",), "c": (), "d": ()})
    assert (order.names, order.refused) == (("c", "b", "a", "d"), {})


def test_missing_dependencies_and_circles_are_named_and_concern_nobody_else() -> None:
    order = start_order({"a": ("b",), "b": ("a",), "c": ("gone",), "d": ("c",), "e": ("f",), "g": ()}, failed=["f"])
    assert order.names == ("g",)
    assert order.refused == {
        "a": "plugins depend on each other in a circle: a -> b -> a",
        "b": "plugins depend on each other in a circle: a -> b -> a",
        "c": "it depends on the plugin 'gone', which is not enabled: set plugins.gone.enabled",
        "d": "it depends on the plugin 'c', which does not run",
        "e": "it depends on the plugin 'f', which does not run",
    }
