from __future__ import annotations

from typing import Any

import pytest

from switchboard.config import Configuration
from switchboard.config.importing.files import imported
from switchboard.errors import ConfigurationError


def test_a_desktop_file_gives_its_servers_and_says_what_was_left_out() -> None:
    document = {
        "mcpServers": {
            "a": {"command": "npx", "args": ["x"], "disabled": True, "autoApprove": ["t"]},
            "b": {"type": "http", "url": "https://a", "trust": True},
        },
        "theme": "dark",
    }
    found = imported(document)
    assert found.servers == {
        "a": {"command": "npx", "args": ["x"], "enabled": False},
        "b": {"type": "http", "url": "https://a"},
    }
    assert found.left_out == [
        "a.autoApprove: is that program's own, and without an effect here",
        "b.trust: has no place here",
        "not about servers: theme",
    ]


def test_an_editors_file_gives_its_servers() -> None:
    document = {"inputs": [], "servers": {"a": {"type": "stdio", "command": "x", "environment": {"K": "v"}}}}
    assert imported(document).servers == {"a": {"type": "stdio", "command": "x", "env": {"K": "v"}}}


@pytest.mark.parametrize(
    ("row", "server"),
    [
        ({"type": "npm", "package": "p", "version": "1.2.3"}, {"source": "npm", "package": "p", "version": "1.2.3"}),
        ({"type": "pypi", "package": "p"}, {"source": "pypi", "package": "p"}),
        ({"type": "git", "url": "git://r", "branch": "b"}, {"source": "git", "repository": "git://r", "branch": "b"}),
        ({"type": "docker", "image": "i", "version": "2"}, {"source": "docker", "image": "i", "version": "2"}),
        ({"type": "local", "url": "/srv/x"}, {"source": "local", "path": "/srv/x"}),
        ({"type": "sse", "url": "https://h"}, {"url": "https://h", "type": "sse"}),
        ({"type": "remote", "url": "https://h"}, {"url": "https://h"}),
        ({"type": "stdio", "command": "x", "args": ["y"]}, {"command": "x", "args": ["y"]}),
        ({"url": "https://h"}, {"url": "https://h"}),
        (
            {"url": "https://h", "auth_strategy": "master_oauth", "auth_config": {"audience": "a"}},
            {"url": "https://h", "auth": {"strategy": "token_exchange", "audience": "a"}},
        ),
    ],
)  # fmt: skip
def test_a_list_of_servers_is_understood(row: dict[str, Any], server: dict[str, Any]) -> None:
    found = imported({"servers": [{"id": "x", **row}]})
    assert found.servers == {"x": server}
    assert found.left_out == []
    Configuration.model_validate({"mcpServers": found.servers})


def test_a_kind_of_server_that_is_not_known_leaves_out_its_own_row() -> None:
    found = imported({"servers": [{"id": "x", "type": "carrier-pigeon"}, {"id": "y", "url": "https://h"}]})
    assert list(found.servers) == ["y"]
    assert found.left_out == ["x: the type 'carrier-pigeon' is not known"]


def test_secrets_in_clear_are_pointed_at_wherever_they_stand() -> None:
    rows = {
        "env": {"command": "a", "env": {"API_TOKEN": "hunter2", "HOME_DIR": "/srv", "REF": "${REF_TOKEN}"}},
        "args": {"command": "a", "args": ["--token=hunter2", "--api-key", "hunter2", "--verbose", "ghp_0123456789"]},
        "url": {"url": "https://a.example/mcp?key=hunter2"},
        "clean": {"command": "a", "args": ["--token", "${T}"], "env": {"API_TOKEN": ""}},
    }
    assert imported({"mcpServers": rows}).hints == [
        "env.env.API_TOKEN: a secret in clear; write ${API_TOKEN} and set that variable",
        "args.args.0: a secret in clear; write ${TOKEN} and set that variable",
        "args.args.2: a secret in clear; write ${API_KEY} and set that variable",
        "args.args.4: a secret in clear; write ${SECRET} and set that variable",
        "url.url: a secret in clear; write ${KEY} and set that variable",
    ]


def test_a_row_without_an_id_is_numbered_and_one_that_is_no_object_is_reported() -> None:
    found = imported({"servers": [{"url": "https://h"}, "x"]})
    assert list(found.servers) == ["server-1"]
    assert found.left_out == ["server-2: is not an object"]


@pytest.mark.parametrize("document", [{}, {"servers": 3}, {"mcp": {}}, {"extensions": []}])
def test_what_cannot_be_understood_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        imported(document)


@pytest.mark.parametrize(
    ("row", "server"),
    [
        ({"url": "https://a", "headers": ["K: a:b"]}, {"url": "https://a", "headers": {"K": "a:b"}}),
        ({"command": "a", "env": ["K=a=b", "L="]}, {"command": "a", "env": {"K": "a=b", "L": ""}}),
        ({"command": "a", "env": [{"name": "K", "value": "v"}]}, {"command": "a", "env": {"K": "v"}}),
        (
            {"url": "https://a", "requestInit": {"headers": {"K": "v"}}},
            {"url": "https://a", "headers": {"K": "v"}},
        ),
        ({"transport": {"type": "sse", "url": "https://a"}}, {"type": "sse", "url": "https://a"}),
        ({"type": "STDIO", "command": "a"}, {"type": "stdio", "command": "a"}),
        ({"type": "streamable", "url": "https://a"}, {"type": "http", "url": "https://a"}),
        ({"command": "a", "timeout": 60000, "autoApprove": []}, {"command": "a", "timeout": 60}),
    ],
)
def test_what_programs_write_in_several_ways_is_taken_over(row: dict[str, Any], server: dict[str, Any]) -> None:
    assert imported({"mcpServers": {"x": row}}).servers == {"x": server}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"command": "a", "env": ["K"]}, "x: env must be an object: name and value"),
        ({"url": "https://a", "headers": "K"}, "x: headers must be an object: name and value"),
        ({"command": ["a"], "args": "b c"}, "x: args must be a list"),
        ({"command": "a", "env_keys": True}, "x: a value in it has a shape that is not understood"),
        ({"url": "https://a", "env_http_headers": 1}, "x: env_http_headers must be an object: name and value"),
    ],
)
def test_a_row_of_an_odd_shape_leaves_out_only_itself(row: dict[str, Any], told: str) -> None:
    found = imported({"mcpServers": {"x": row, "y": {"command": "b"}}})
    assert found.servers == {"y": {"command": "b"}}
    assert found.left_out == [told]


@pytest.mark.parametrize(("kind", "seconds"), [("stdio", 120), ("local", 0.12)])
def test_a_time_limit_under_mcp_counts_milliseconds_where_the_program_is_the_one_that_does(
    kind: str, seconds: float
) -> None:
    found = imported({"mcp": {"x": {"type": kind, "command": ["a"], "timeout": 120}}})
    assert found.servers["x"]["timeout"] == seconds


@pytest.mark.parametrize("written", ["$TOKEN", "Bearer $A_B", "{{ USER }}", "$(cat key)"])
def test_what_another_program_would_replace_is_pointed_at(written: str) -> None:
    found = imported({"mcpServers": {"x": {"command": "a", "env": {"K": written}}}})
    shown = written.removeprefix("Bearer ")
    assert f"x: K: {shown} is handed on as it is written; a variable is written ${{NAME}}" in found.hints


@pytest.mark.parametrize("written", ["cost $5", "${TOKEN}", "a$B", "$$TOKEN", "us$"])
def test_what_no_program_replaces_is_no_matter(written: str) -> None:
    found = imported({"mcpServers": {"x": {"command": "a", "env": {"K": written}}}})
    assert not any("as it is written" in hint for hint in found.hints)
