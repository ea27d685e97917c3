from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from switchboard.config import BUILT_IN, PluginSection, read
from switchboard.errors import ConfigurationError

WriteFile = Callable[[str, str], Path]


def test_without_a_file_everything_is_enabled_and_has_no_prefix() -> None:
    configuration = read(None, {})
    assert configuration.plugins == BUILT_IN
    assert configuration.plugins["everything"] == PluginSection(enabled=True, prefix="never")
    assert configuration.separator == "__"


def test_json_and_toml_say_the_same(write: WriteFile) -> None:
    document = {"separator": ".", "plugins": {"mine": {"prefix": "conflict", "config": {"size": 3, "tags": ["a"]}}}}
    toml = 'separator = "."\n[plugins.mine]\nprefix = "conflict"\n[plugins.mine.config]\nsize = 3\ntags = ["a"]\n'
    from_json = read(write("c.json", json.dumps(document)), {})
    assert from_json == read(write("c.toml", toml), {})
    assert from_json.plugins["mine"] == PluginSection(prefix="conflict", config={"size": 3, "tags": ["a"]})


def test_a_row_states_only_what_differs_from_what_is_built_in(write: WriteFile) -> None:
    path = write("c.json", '{"plugins": {"mine": {}, "everything": {"enabled": false}}}')
    plugins = read(path, {}).plugins
    assert list(plugins) == ["everything", "mine"]
    assert (plugins["everything"].enabled, plugins["everything"].prefix) == (False, "never")
    assert (plugins["mine"].enabled, plugins["mine"].prefix) == (True, "always")


def test_variables_are_expanded_wherever_a_text_stands(write: WriteFile) -> None:
    text = (
        '{"plugins": {"mine": {"config": {"url": "https://${HOST}/${PATH_:-v1}", "deep": [{"k": "${HOST}"}], "n": 1}}}}'
    )
    config = read(write("c.json", text), {"HOST": "example.org", "PATH_": ""}).plugins["mine"].config
    assert config == {"url": "https://example.org/v1", "deep": [{"k": "example.org"}], "n": 1}


def test_a_variable_that_is_set_to_nothing_is_not_unset(write: WriteFile) -> None:
    path = write("c.json", '{"plugins": {"mine": {"config": {"x": "[${EMPTY}]", "y": "[${GONE:-}]"}}}}')
    assert read(path, {"EMPTY": ""}).plugins["mine"].config == {"x": "[]", "y": "[]"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            '{"plugins": {"mine": {"prefix": "often"}}}',
            "plugins.mine.prefix: must be one of 'always', 'conflict', 'never'",
        ),
        ('{"plugins": {"mine": {"prefix": "often"}}}', "not 'often'"),
        ('{"plugins": {"mine": {"enabled": "perhaps"}}}', "plugins.mine.enabled: "),
        ('{"plugins": {"mine": {"colour": 1}}}', "plugins.mine.colour: is not a known key, not 1"),
        ('{"plugins": {"mine": 3}}', "plugins.mine: "),
        ('{"plugins": []}', "plugins: "),
        ('{"plugin": {}}', "plugin: is not a known key; did you mean 'plugins'?"),
        ('{"plugins": {"My Plugin": {}}}', "plugins.My Plugin"),
        ('{"separator": "a b"}', "separator: "),
        (
            '{"plugins": {"mine": {"config": {"key": "${GONE}"}}}}',
            "plugins.mine.config.key: the variable GONE is not set",
        ),
        ("[]", "must be an object at the top, not list"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_wrong_is_said_with_file_place_and_value(write: WriteFile, text: str, complaint: str) -> None:
    path = write("c.json", text)
    with pytest.raises(ConfigurationError) as caught:
        read(path, {})
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_a_complaint_shows_the_value_as_written_never_the_secret_it_stands_for(write: WriteFile) -> None:
    path = write("c.json", '{"plugins": {"mine": {"prefix": "${TOKEN}"}}}')
    with pytest.raises(ConfigurationError) as caught:
        read(path, {"TOKEN": "hunter2"})
    assert "${TOKEN}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_mistake_is_listed_at_once(write: WriteFile) -> None:
    path = write("c.json", '{"separator": "", "plugins": {"mine": {"prefix": "often"}}}')
    with pytest.raises(ConfigurationError) as caught:
        read(path, {})
    assert [line.split(": ")[2] for line in str(caught.value).splitlines()] == ["separator", "plugins.mine.prefix"]


@pytest.mark.parametrize("name", ["c.ini", "c"])
def test_a_format_that_is_not_read_is_named_with_what_is(write: WriteFile, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use one of \.yaml, \.yml, \.json, \.jsonc, \.toml"):
        read(write(name, ""), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.json"):
        read(tmp_path / "gone.json", {})


@pytest.mark.parametrize("servers", [{"mine": {"command": "x"}}, {"mine": {"command": "x", "enabled": False}}])
def test_the_demo_steps_back_once_there_are_servers(write: WriteFile, servers: dict[str, object]) -> None:
    assert not read(write("c.json", json.dumps({"mcpServers": servers})), {}).plugins["everything"].enabled


def test_the_demo_stays_beside_servers_where_the_file_has_a_row_for_it(write: WriteFile) -> None:
    document = {"plugins": {"everything": {}}, "mcpServers": {"mine": {"command": "x"}}}
    demo = read(write("c.json", json.dumps(document)), {}).plugins["everything"]
    assert (demo.enabled, demo.prefix) == (True, "never")
    assert read(write("c.json", '{"mcpServers": {}}'), {}).plugins["everything"].enabled


def test_a_server_called_like_a_built_in_plugin_takes_its_place(write: WriteFile) -> None:
    name = "everything"
    configuration = read(write("c.json", json.dumps({"mcpServers": {name: {"command": "x"}}})), {})
    assert name not in configuration.plugins
    assert list(configuration.servers) == [name]
    off = {"plugins": {name: {"enabled": False}}, "mcpServers": {name: {"command": "x"}}}
    assert list(read(write("c.json", json.dumps(off)), {}).servers) == [name]
