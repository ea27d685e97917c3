from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import Configuration, ServerSection, provider_name, read

WriteFile = Callable[[str, str], Path]
Said = Callable[..., str]

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


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
"""A few lines that stand for 43 million values."""


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "2025-06-18"])
def test_yaml_words_that_only_look_like_something_else_are_texts(write: WriteFile, word: str) -> None:
    text = f"mcpServers: {{x: {{command: a, args: [{word}]}}}}"
    assert read(write("c.yaml", text), {}).servers["x"].args == (word,)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.yaml", "mcpServers:\n  a: {command: x}\n  a: {command: y}\n", "line 3, column 3: the key 'a' stands twice"),
        ("c.yaml", "mcpServers:\n  a: &a\n    env: *a\n", "line 2, column 6: an alias stands within its own anchor"),
        ("c.yaml", ALIASES, "is more than 1000000 values with its aliases written out"),
        ("c.json", '{"presets": {}, "presets": {}}', "the key 'presets' stands twice"),
        ("c.yaml", "mcpServers: [", "line 1, column 14"),
        ("c.yaml", "mcpServers: !!python/object:os.system {}", "could not determine a constructor"),
        ("c.toml", "mcpServers = 1\nmcpServers = 2", "Cannot overwrite a value"),
        ("c.yaml", "mcpServers: {x: {command: a, args: 7}}", "line 1: mcpServers.x.args: must be a list"),
        ("c.yaml", "mcpServers: {x: {command: a, timeout: -1}}", "mcpServers.x.timeout: "),
        ("c.yaml", "mcpServers: {x: {command: a, colour: red}}", "mcpServers.x.colour: is not a known key, not 'red'"),
        ("c.yaml", "mcpServers: {x: {source: pip}}", "mcpServers.x.source: must be one of 'command', 'url', 'npm'"),
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
            "plugins: {everything: {}}\nmcpServers: {everything: {command: x}}",
            "line 2: mcpServers.everything: a plugin and a server would both be called 'everything': rename",
        ),
        ("c.yaml", "mcpServers: {x: {command: a, timout: 3}}", "is not a known key; did you mean 'timeout'?"),
        ("c.yaml", "mcpServers: {x: {command: a, Env: {}}}", "is not a known key; did you mean 'env'?"),
        ("c.yaml", "mcpServers: {x: {command: a, auth: {strategi: none}}}", "did you mean 'strategy'?"),
        (
            "c.yaml",
            "mcpServers: {x: {command: a, timeout: soon}}",
            "mcpServers.x.timeout: must be a number, not 'soon'",
        ),
        ("c.yaml", "mcpServers: {x: {command: a, enabled: maybe}}", "enabled: must be true or false, not 'maybe'"),
        ("c.yaml", "mcpServers: {x: {command: a, env: []}}", "mcpServers.x.env: must be an object: name and value"),
        (
            "c.yaml",
            "mcpServers:\n  x:\n    command: a\n    tags: ['a b']\n",
            "line 4: mcpServers.x.tags.0: may have letters",
        ),
        (
            "c.json",
            '{\n // x\n "mcpServers": {\n  "x": {"command": "a",\n   "colour": 1}}}',
            "line 5: mcpServers.x.colour",
        ),
        ("c.toml", "[mcpServers.x]\ncommand = 'a'\ncolour = 1\n", "line 3: mcpServers.x.colour"),
        ("c.yaml", "mcpServers: {x: 7}", "mcpServers.x: must be an object: name and value"),
        ("c.yaml", "mcpServers: {x: {command: a, env_file: gone.env}}", "gone.env: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_with_file_place_and_value(
    write: WriteFile, said: Said, name: str, text: str, complaint: str
) -> None:
    path = write(name, text)
    assert said(path).startswith(f"{path}: ")
    assert complaint in said(path)


@pytest.mark.parametrize(
    "row", ["{command: a, env: {KEY: 12345}}", '{url: "https://a", headers: {Authorization: 12345}}']
)
def test_a_complaint_about_a_secret_place_does_not_show_the_value(write: WriteFile, said: Said, row: str) -> None:
    found = said(write("c.yaml", f"mcpServers: {{x: {row}}}"))
    assert "must be a text" in found
    assert "12345" not in found


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
    ("other", "ours", "more"),
    [
        ("master_oauth", "token_exchange", {}),
        ("delegate_oauth", "user_oauth", {}),
        ("proxy_oauth", "service", {"api_key": "x"}),
        ("bypass_auth", "none", {}),
    ],
)
def test_older_names_of_a_strategy_are_understood(other: str, ours: str, more: dict[str, str]) -> None:
    assert server(url="https://a", auth={"strategy": other, **more}).auth.strategy == ours


@pytest.mark.parametrize(
    ("given", "name"),
    [("time", "time"), ("My Server", "My-Server"), ("Müller & Söhne", "Muller-Sohne"), ("a.b", "a.b")],
)
def test_any_name_of_a_desktop_client_becomes_one_that_tools_can_carry(given: str, name: str) -> None:
    assert provider_name(given) == name


def test_names_in_other_scripts_differ_where_their_letters_do() -> None:
    names = ["天气", "地图", "größe", "gräße", "🚀", "🎉", "..", "сервер", "mcp-天气", "mcp-地图"]
    called = [provider_name(name) for name in names]
    assert len(set(called)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) for name in called)
    assert called == [provider_name(name) for name in names]


def test_a_row_that_is_wrong_leaves_out_only_its_own_server(write: WriteFile) -> None:
    text = (
        "mcpServers:\n  good: {command: a}\n  typo: {command: a, colour: red}\n  unset: {command: '${GONE}'}\n"
        "  list: [a]\n  '': {command: a}\n  also good: {url: 'https://a'}\npresets: {p: {servers: [typo, good]}}\n"
    )
    found = read(write("c.yaml", text), {})
    assert list(found.servers) == ["good", "also good"]
    assert set(found.broken) == {"typo", "unset", "list", ""}
    assert [name for name, fault in found.broken.items() if fault.unset] == ["unset"]
    assert found.presets["p"].servers == ("typo", "good")


@pytest.mark.parametrize("off", ["disabled: true", "enabled: false", "enabled: '${OFF:-false}'"])
def test_what_a_row_that_is_switched_off_would_need_may_be_missing(write: WriteFile, off: str) -> None:
    row = f"{{command: npx, args: ['${{GONE}}'], env: {{A: '${{input:a}}'}}, timeout: '${{GONE}}', {off}}}"
    found = read(write("c.yaml", f"mcpServers: {{x: {row}}}"), {})
    assert found.broken == {}
    assert found.servers["x"].enabled is False


def test_a_plugin_that_is_switched_off_may_lack_its_variables(write: WriteFile) -> None:
    path = write("c.yaml", "plugins: {mine: {enabled: false, config: {key: '${GONE}'}}}")
    assert read(path, {}).plugins["mine"].enabled is False


@pytest.mark.parametrize("mentioned", ["", "plugins: {everything: {enabled: false}}\n"])
def test_a_server_takes_the_name_of_a_built_in_plugin_that_is_not_wanted(write: WriteFile, mentioned: str) -> None:
    found = read(write("c.yaml", f"{mentioned}mcpServers: {{everything: {{command: a}}}}"), {})
    assert (found.broken, list(found.servers)) == ({}, ["everything"])
    assert "everything" not in found.plugins or not found.plugins["everything"].enabled


@pytest.mark.parametrize(
    ("text", "on"),
    [("mcpServers: {x: {command: a}}", False), ("mcpServers: {}", True), ("separator: '-'", True),
     ("plugins: {everything: {}}\nmcpServers: {x: {command: a}}", True)],
)  # fmt: skip
def test_the_demo_toolset_is_off_once_there_are_servers_of_ones_own(write: WriteFile, text: str, on: bool) -> None:
    assert read(write("c.yaml", text), {}).plugins["everything"].enabled is on


def test_variables_of_a_file_lie_beneath_those_of_the_row(write: WriteFile) -> None:
    write("x.env", 'A=from the file\nB="quoted # text"\n# no\nexport C=$HOME\n')
    path = write("c.yaml", "mcpServers: {x: {command: a, envFile: x.env, env: {A: of the row}}}")
    assert read(path, {}).servers["x"].env == {"A": "of the row", "B": "quoted # text", "C": "$HOME"}


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("${env:KEY}", "v"), ("${KEY}", "v"), ("${env:GONE:-d}", "d"), ("${GONE:-}", ""), ("a${/}b", f"a{os.sep}b"),
        ("${userHome}/x", f"{Path.home()}/x"), ("$${KEY}", "${KEY}"), ("$KEY", "$KEY"), ("{KEY}", "{KEY}"),
        ("${KEY}${KEY}", "vv"), ("$", "$"), ("$${", "${"), ("${GONE:-${KEY}}/x", "v/x"),
        ("${GONE:-${env:GONE:-${KEY}}}", "v"), ("${KEY:-${GONE}}", "v"), ("${GONE:-{}}", "{}"), ("${KEY:-a}b}", "vb}"),
    ],
)  # fmt: skip
def test_references_are_expanded_as_they_are_written_by_editors_too(
    write: WriteFile, written: str, read_as: str
) -> None:
    path = write("c.json", json.dumps({"mcpServers": {"x": {"command": "a", "args": [written]}}}))
    assert read(path, {"KEY": "v"}).servers["x"].args == (read_as,)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${input:api-key}", "is asked for by an editor; write ${API_KEY} and set that variable"),
        ("${workspaceFolder}/x", "is known to an editor only; write the path or value itself"),
        ("${workspaceFolder:app}", "is known to an editor only"),
        ("${workspaceFolderBasename}", "is known to an editor only"),
        ("${command:pick}", "is known to an editor only"),
        ("${config:a.b}", "is known to an editor only"),
        ("${fileDirname}", "is known to an editor only"),
        ("${user_config.dir}", "is known to an editor only"),
        ("${__dirname}", "is known to an editor only"),
        ("${env:GONE}", "the variable GONE is not set"),
        ("${A:+b}", "is not understood: write ${NAME} or ${NAME:-default}, or $${ for a literal ${"),
        ("${}", "is not understood"),
        ("${", "a ${ has no closing }: write ${NAME}, or $${ for a literal ${"),
        ("${GONE:-${A}", "has no closing }"),
        ("${GONE:-${input:key}}", "is asked for by an editor"),
    ],
)
def test_a_reference_that_stands_for_nothing_is_refused_and_never_handed_on(
    write: WriteFile, said: Said, written: str, told: str
) -> None:
    path = write("c.json", json.dumps({"mcpServers": {"x": {"command": "a", "args": [written]}}}))
    assert f"{path}: line 1: mcpServers.x.args.0: " in said(path)
    assert told in said(path)
    assert read(path, {}).servers == {}


def test_what_a_desktop_client_keeps_beside_its_servers_does_not_matter_but_a_slip_does(
    write: WriteFile, said: Said
) -> None:
    row = '"mcpServers": {"x": {"command": "a"}}'
    desktop = write("c.json", f'{{{row}, "coworkScheduledTasksEnabled": true, "theme": {{}}}}')
    assert list(read(desktop, {}).servers) == ["x"]
    assert "preset: is not a known key; did you mean 'presets'?" in said(write("c.json", f'{{{row}, "preset": {{}}}}'))
    ours = write("c.json", f'{{{row}, "presets": {{}}, "theme": "x"}}')
    assert "theme: is not a known key" in said(ours)


def test_json_may_have_comments_and_last_commas(write: WriteFile) -> None:
    text = '{\n// x\n "mcpServers": {\n /* x, */ "x": {"command": "a", "args": ["//", "/**/", ",]", "b",],},\n },\n}\n'
    for name in ("c.json", "c.jsonc"):
        assert read(write(name, text), {}).servers["x"].args == ("//", "/**/", ",]", "b")


def test_a_section_says_nothing_secret_about_itself() -> None:
    section = server(url="https://a", headers={"Authorization": "hunter2"})
    assert "hunter2" not in repr(section)


def test_equal_configurations_have_equal_digests() -> None:
    one, same, other = ({"mcpServers": {"x": {"command": command}}} for command in ("a", "a", "b"))
    made = [Configuration.model_validate(document).digest for document in (one, same, other)]
    assert made[0] == made[1] != made[2]
