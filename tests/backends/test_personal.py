"""`${user}` and `${session}`: a connection's own variables, arguments, folder and headers."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp_types import TextContent

from switchboard.backends import Backend, Http, Stdio
from switchboard.backends.connections.connection_key import ALL_CAPABILITIES, SHARED, key_for
from switchboard.backends.transports.opening import for_connection, for_nobody
from switchboard.config import ServerSection
from switchboard.identity import Caller, Principal
from tests.backends.conftest import Connect, Fleet

ANN = Caller(Principal("https://issuer", "../ann", "app"), "s1")
BOB = Caller(Principal("https://issuer", "bob", "app"), "s2")
TEMPLATE = Stdio("x", ("--file", "/data/${user}/${session}.db"), {"OWN": "${user}"}, "/home/${user}")


def test_each_person_and_each_session_has_names_of_its_own_that_are_safe_in_a_path() -> None:
    found = {}
    for name, caller in {"ann": ANN, "ann again": Caller(ANN.principal, "s3"), "bob": BOB}.items():
        what = for_connection(TEMPLATE, key_for("session", caller, {}))
        assert isinstance(what, Stdio)
        found[name] = what
        assert what.own_cwd
        assert what.cwd == f"/home/{what.env['OWN']}"
        assert len(what.env["OWN"]) == 32
        assert what.env["OWN"].isalnum()
        assert what.args[1].startswith(f"/data/{what.env['OWN']}/")
    assert found["ann"].env == found["ann again"].env != found["bob"].env
    assert len({what.args for what in found.values()}) == 3
    assert for_connection(TEMPLATE, key_for("user", ANN, {})).env == found["ann"].env  # type: ignore[union-attr]


def test_what_names_nobody_stays_as_it_is_and_headers_are_replaced_too() -> None:
    assert for_connection(Stdio("x", ("$${y}",), cwd="/a"), SHARED) == Stdio("x", ("$${y}",), cwd="/a")
    far = Http(("https://x",), {"X-User": "${user}", "X-All": "all"})
    found = for_connection(far, key_for("user", BOB, ALL_CAPABILITIES))
    assert isinstance(found, Http)
    assert "$" not in found.headers["X-User"]
    assert for_nobody(far) == {"X-All": "all"}


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "shared": ({"command": "x", "args": ["${user}"], "scope": "shared"}, "everybody shares a connection: it needs"),
    "session in user": ({"command": "x", "env": {"A": "${session}"}, "scope": "user"}, "a person's sessions share one"),
    "url without scope": ({"url": "https://x", "headers": {"A": "${user}"}}, "needs `scope: user` or `scope: session`"),
    "elsewhere": ({"command": "/bin/${user}"}, "${user} in 'command' stands for nothing: it can be used in args"),
    "in a url": ({"url": "https://x/${session}", "scope": "session"}, "${session} in 'url' stands for nothing"),
}


@pytest.mark.parametrize("row", ROWS)
def test_where_they_would_mean_nothing_they_are_refused_with_a_word(row: str) -> None:
    given, says = ROWS[row]
    with pytest.raises(ValueError, match=r"stands for nothing|has no one value") as caught:
        ServerSection.model_validate(given)
    assert says in str(caught.value)


CHILD = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    info = {"name": "own", "version": "1"}
    text = " ".join((sys.argv[1], os.environ["OWN"], os.getcwd()))
    results = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info},
        "tools/list": {"tools": [{"name": "who", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": text}]},
    }
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": results.get(message["method"], {})}), flush=True)
"""


async def test_each_session_s_child_gets_its_own_folder_which_is_made(
    fleet: Fleet, connect: Connect, tmp_path: Path
) -> None:
    template = Stdio(
        sys.executable, ("-c", CHILD, "${session}"), {"OWN": "${user}"}, f"{tmp_path}/${{session}}", "handshake"
    )
    [url] = await fleet([Backend("own", template)])
    said = []
    async with connect(url, "handshake") as one, connect(url, "handshake") as two:
        for client in (one, two):
            async with asyncio.timeout(60):
                while "own__who" not in {t.name for t in (await client.list_tools(cache_mode="refresh")).tools}:
                    await asyncio.sleep(0.02)
            content = (await client.call_tool("own__who")).content[0]
            assert isinstance(content, TextContent)
            said.append(content.text.split(" "))
    assert [each[2] for each in said] == [str(tmp_path / each[0]) for each in said]
    assert said[0][0] != said[1][0]
    assert said[0][1] == said[1][1]
    assert set(os.listdir(tmp_path)) == {said[0][0], said[1][0], "discovery"}
    assert {os.stat(each[2]).st_mode & 0o777 for each in said} == {0o700}
