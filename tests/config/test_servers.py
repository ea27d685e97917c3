from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import Configuration, ServerSection, provider_name, read
from switchboard.errors import ConfigurationError

WriteFile = Callable[[str, str], Path]

DESKTOP = """
{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv"]},
    "weather": {"command": "python", "args": ["w.py"], "env": {"KEY": "v"}, "disabled": true, "autoApprove": ["get"]},
    "remote": {"type": "http", "url": "https://example.org/mcp", "headers": {"Authorization": "Bearer t"}},
    "old": {"type": "sse", "url": "https://example.org/sse"},
    "My Server": {"serverUrl": "https://example.org/other", "type": "streamable-http"}
  }
}
"""


def server(**row: Any) -> ServerSection:
    return Configuration.model_validate({"mcpServers": {"x": row}}).servers["x"]


def test_a_desktop_clients_file_works_as_it_is(write: WriteFile) -> None:
    servers = read(write("c.json", DESKTOP), {}).servers
    assert list(servers) == ["filesystem", "weather", "remote", "old", "My Server"]
    assert servers["filesystem"].source == "command"
    assert servers["filesystem"].args == ("-y", "@modelcontextprotocol/server-filesystem", "/srv")
    assert (servers["weather"].enabled, servers["weather"].env) == (False, {"KEY": "v"})
    assert (servers["remote"].source, servers["remote"].transport) == ("url", "http")
    assert servers["old"].transport == "sse"
    assert (servers["My Server"].addresses, servers["My Server"].transport) == (("https://example.org/other",), "http")


def test_yaml_toml_and_json_say_the_same(write: WriteFile) -> None:
    document = {
        "mcpServers": {
            "time": {"source": "pypi", "package": "mcp-server-time", "version": "1.0", "tags": ["web"], "timeout": 5}
        }
    }
    yaml = (
        "mcpServers:\n  time:\n    source: pypi\n    package: mcp-server-time\n"
        '    version: "1.0"\n    tags: [web]\n    timeout: 5\n'
    )
    toml = '[mcpServers.time]\nsource="pypi"\npackage="mcp-server-time"\nversion="1.0"\ntags=["web"]\ntimeout=5\n'
    found = read(write("c.json", json.dumps(document)), {})
    assert found == read(write("c.yaml", yaml), {}) == read(write("c.yml", yaml), {}) == read(write("c.toml", toml), {})
    assert found.servers["time"].package == "mcp-server-time"


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "2025-06-18"])
def test_yaml_words_that_only_look_like_something_else_are_texts(write: WriteFile, word: str) -> None:
    text = f"mcpServers: {{x: {{command: a, args: [{word}]}}}}"
    assert read(write("c.yaml", text), {}).servers["x"].args == (word,)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.yaml", "mcpServers:\n  a: {command: x}\n  a: {command: y}\n", "line 3, column 3: the key 'a' stands twice"),
        ("c.json", '{"presets": {}, "presets": {}}', "the key 'presets' stands twice"),
        ("c.yaml", "mcpServers: [", "line 1, column 14"),
        ("c.yaml", "mcpServers: !!python/object:os.system {}", "could not determine a constructor"),
        ("c.toml", "mcpServers = 1\nmcpServers = 2", "Cannot overwrite a value"),
        ("c.yaml", "mcpServers: {x: {command: a, args: 7}}", "mcpServers.x.args: Input should be a valid tuple, not 7"),
        ("c.yaml", "mcpServers: {x: {command: a, timeout: -1}}", "mcpServers.x.timeout: "),
        ("c.yaml", "mcpServers: {x: {command: a, colour: red}}", "mcpServers.x.colour: Extra inputs are not permitted"),
        ("c.yaml", "mcpServers: {x: {source: pip}}", "mcpServers.x.source: Input should be 'command', 'url', 'npm'"),
        ("c.yaml", "mcpServers: {x: {source: npm}}", "mcpServers.x: a server from 'npm' needs 'package'"),
        ("c.yaml", "mcpServers: {x: {}}", "mcpServers.x: a server from 'command' needs 'command'"),
        (
            "c.yaml",
            "mcpServers: {x: {url: 'https://a', args: [b]}}",
            "mcpServers.x: 'args' means nothing for a server",
        ),
        (
            "c.yaml",
            "mcpServers: {x: {url: 'https://a', type: stdio}}",
            "mcpServers.x: a server from 'url' is not reached over",
        ),
        ("c.yaml", "mcpServers: {x: {source: git, repository: r, tag: a, branch: b}}", "only one of 'branch', 'tag'"),
        ("c.yaml", "mcpServers: {x: {source: npm, package: --global}}", "mcpServers.x.package: "),
        ("c.yaml", "mcpServers: {x: {source: git, repository: --upload-pack=x}}", "mcpServers.x.repository: "),
        ("c.yaml", "mcpServers: {x: {command: a, tools: {t: {scopes: ['a b']}}}}", "mcpServers.x.tools.t.scopes.0: "),
        (
            "c.yaml",
            "mcpServers: {x: {url: 'http://example.org'}}",
            "mcpServers.x: plain http to example.org can be read",
        ),
        ("c.yaml", "mcpServers: {x: {url: 'ftp://a'}}", "mcpServers.x: a URL must start with https://"),
        (
            "c.yaml",
            "mcpServers: {x: {urls: ['https://u:p@a']}}",
            "mcpServers.x: a URL must not carry a user or password",
        ),
        ("c.yaml", "presets: {a: {tags: 'web,!'}}", "presets.a.tags: "),
        ("c.yaml", "presets: {a: {servers: [gone]}}", "presets.a.servers: there is no plugin or server 'gone'"),
        ("c.yaml", "mcpServers: {a b: {command: x}, a-b: {command: x}}", "would both be called 'a-b'"),
        (
            "c.yaml",
            "{plugins: {everything: {}}, mcpServers: {everything: {command: x}}}",
            "a plugin and a server would both be called 'everything': rename the server, or switch the plugin off",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_place_and_value(
    write: WriteFile, name: str, text: str, complaint: str
) -> None:
    path = write(name, text)
    with pytest.raises(ConfigurationError) as caught:
        read(path, {})
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "row", ["{command: a, env: {KEY: 12345}}", '{url: "https://a", headers: {Authorization: 12345}}']
)
def test_a_complaint_about_a_secret_place_does_not_show_the_value(write: WriteFile, row: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(write("c.yaml", f"mcpServers: {{x: {row}}}"), {})
    assert "should be a valid string" in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "row", [{"url": "http://localhost:1"}, {"url": "http://[::1]"}, {"url": "http://h", "insecure": True}]
)
def test_plain_http_is_for_this_machine_or_asked_for(row: dict[str, Any]) -> None:
    assert server(**row).addresses


def test_variables_stand_for_numbers_and_flags_too(write: WriteFile) -> None:
    text = "mcpServers: {x: {command: a, timeout: '${WAIT:-9}', enabled: '${ON}'}}"
    found = read(write("c.yaml", text), {"ON": "false"}).servers["x"]
    assert (found.timeout, found.enabled) == (9, False)


def test_an_empty_file_is_the_built_in_configuration(write: WriteFile) -> None:
    assert read(write("c.yaml", "# nothing yet\n"), {}) == Configuration()


@pytest.mark.parametrize(
    ("other", "ours"),
    [("master_oauth", "token_exchange"), ("delegate_oauth", "user_oauth"), ("proxy_oauth", "service")],
)
def test_older_names_of_a_strategy_are_understood(other: str, ours: str) -> None:
    assert server(url="https://a", auth={"strategy": other}).auth.strategy == ours


@pytest.mark.parametrize(
    ("given", "name"),
    [("time", "time"), ("My Server", "My-Server"), ("größe", "gr-e"), ("..", "server")],
)
def test_any_name_of_a_desktop_client_becomes_one_that_tools_can_carry(given: str, name: str) -> None:
    assert provider_name(given) == name


def test_a_section_says_nothing_secret_about_itself() -> None:
    section = server(url="https://a", headers={"Authorization": "hunter2"})
    assert "hunter2" not in repr(section)


def test_equal_configurations_have_equal_digests() -> None:
    one, same, other = ({"mcpServers": {"x": {"command": command}}} for command in ("a", "a", "b"))
    made = [Configuration.model_validate(document).digest for document in (one, same, other)]
    assert made[0] == made[1] != made[2]
