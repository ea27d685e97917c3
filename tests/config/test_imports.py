from __future__ import annotations

from typing import Any

import pytest

from switchboard.config import Configuration
from switchboard.config.imports import imported
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
