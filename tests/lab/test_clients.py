"""The drivers of clients of others, and the published results: they fit the scenarios, the pins and each other."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from switchboard.cli.lab.visit import visit
from switchboard.lab.rules import RULES
from switchboard.lab.scenarios import BY_NAME
from tools.fleet.children import free_port
from tools.lab import results
from tools.lab.drivers import DRIVERS, HERE

PINNED = json.loads((HERE / "package.json").read_text())["dependencies"]
OF_NPM = {
    "typescript-sdk-1": "@modelcontextprotocol/sdk",
    "typescript-sdk-2": "@modelcontextprotocol/client",
    "inspector-cli": "@modelcontextprotocol/inspector",
    "inspector-web": "@modelcontextprotocol/inspector",
    "mcp-remote": "mcp-remote",
}


def test_every_client_has_results_of_the_version_that_is_pinned() -> None:
    found = {name: version for name, (version, _) in results.read().items()}

    assert set(found) == set(DRIVERS)
    assert all(found.values())
    assert {name: found[name] for name in OF_NPM} == {name: PINNED[package] for name, package in OF_NPM.items()}
    assert f"fastmcp=={found['fastmcp']}" in (HERE / "fastmcp.txt").read_text().split()


def test_results_name_scenarios_and_rules_that_there_are_and_a_failure_says_which_was_broken_where() -> None:
    for name, (_, rows) in results.read().items():
        assert {row.scenario for row in rows} <= set(BY_NAME), name
        for row in rows:
            assert row.verdict in results.MARKS
            assert (row.verdict == "failed") == bool(row.rule in RULES and row.hop and row.why), (name, row)


def test_every_client_was_served_where_nothing_is_wrong() -> None:
    for name, (_, rows) in results.read().items():
        (plain,) = [row for row in rows if row.scenario == "plain"]
        assert (plain.verdict, plain.exit) == ("passed", 0), name


def test_what_was_locked_is_what_is_pinned() -> None:
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]

    assert {name: locked[f"node_modules/{name}"]["version"] for name in PINNED} == PINNED


@pytest.mark.parametrize("name", ["clients", "python_sdk", "inspector_cli", "inspector_web", "mcp_remote"])
def test_a_driver_in_python_can_be_loaded(name: str) -> None:
    assert callable(importlib.import_module(f"tools.lab.{name}").main)


def test_the_drivers_in_other_environments_can_be_parsed() -> None:
    compile((HERE / "fastmcp_client.py").read_text(), "fastmcp_client.py", "exec")
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    for driver in ("typescript_sdk.mjs", "vscode.mjs"):
        subprocess.run([node, "--check", str(HERE / driver)], check=True, timeout=60)


def test_the_browser_follows_redirects_and_comes_again_where_nobody_listens_yet() -> None:
    seen: list[str] = []
    late = free_port()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            if self.path.startswith("/authorize"):
                self.send_response(HTTPStatus.SEE_OTHER)
                self.send_header("Location", f"http://127.0.0.1:{late}/callback?code=c")
            else:
                self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    callbacks: list[HTTPServer] = []

    def listen(_seconds: float) -> None:
        """What the client does while the browser waits to come again."""
        if not callbacks:
            callbacks.append(HTTPServer(("127.0.0.1", late), Answers))
            Thread(target=callbacks[0].handle_request).start()

    with HTTPServer(("127.0.0.1", 0), Answers) as issuer:
        Thread(target=issuer.handle_request).start()
        status = visit(f"http://127.0.0.1:{issuer.server_port}/authorize?state=s", listen)
    callbacks[0].server_close()

    assert status == HTTPStatus.OK
    assert seen == ["/authorize?state=s", "/callback?code=c"]
