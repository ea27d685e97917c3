from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from switchboard.cli.commands import app
from switchboard.cli.login import obtain_token
from switchboard.protocol.client_setups import CLIENTS
from tests.cli.conftest import COMMAND, bare
from tools.fleet.children import free_port

URL = "https://tools.example.com/mcp"


def run(*arguments: str, **env: str) -> Any:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **env})


@pytest.fixture(scope="module")
def signed_in(integrated: str) -> tuple[str, ...]:
    """The options with which a command reaches a running server."""
    return "--url", integrated, "--token", obtain_token(integrated, user="alice")


# -- install ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_told_of_the_server_and_keeps_what_it_had(client: str, tmp_path: Path) -> None:
    file = tmp_path / f"configuration{CLIENTS[client].file().suffix}"
    file.write_text('model = "x"\n' if file.suffix == ".toml" else '{"theme": "dark"}')
    done = run("install", "--client", client, "--url", URL, "--file", str(file), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert Path(said["backup"]).read_text() in ('model = "x"\n', '{"theme": "dark"}')
    text = file.read_text()
    assert URL in text
    assert "dark" in text or 'model = "x"' in text


def test_a_client_that_only_starts_programs_is_given_the_bridge() -> None:
    document = CLIENTS["claude"].document("tools", URL, ("switchboard", "connect", URL))
    assert document == {"mcpServers": {"tools": {"command": "switchboard", "args": ["connect", URL]}}}


def test_each_client_that_has_links_gets_one_that_carries_name_and_url() -> None:
    links = {name: setup.link("tools", URL) for name, setup in CLIENTS.items() if setup.link is not None}
    assert links["vscode"].startswith("vscode:mcp/install?%7B%22name%22")
    assert links["cursor"].startswith("cursor://anysphere.cursor-deeplink/mcp/install?name=tools&config=ey")


@pytest.mark.parametrize(
    ("having", "says"),
    [
        ('{"mcpServers": {"switchboard": {"url": "https://other.example"}}}', "another server 'switchboard'"),
        ('{"mcpServers": {}, // mine\n "a": 1}', "has comments"),
        ('{"mcpServers": []}', "is no object"),
        ("{", "line 1"),
    ],
)
def test_a_file_that_would_lose_something_is_left_alone(having: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(having)
    done = run("install", "--client", "cursor", "--url", URL, "--file", str(file))
    assert done.exit_code == 2
    assert says in done.stderr
    assert file.read_text() == having
    assert list(tmp_path.iterdir()) == [file]


def test_another_server_of_that_name_is_replaced_when_told_to(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"switchboard": {"url": "https://other.example"}, "b": {}}}')
    assert run("install", "--client", "cursor", "--url", URL, "--file", str(file), "--replace").exit_code == 0
    assert json.loads(file.read_text()) == {"mcpServers": {"switchboard": {"url": URL}, "b": {}}}


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = run("install", "--client", "vscode", "--url", URL, "--file", str(tmp_path / "mcp.json"), "--dry-run")
    assert json.loads(done.stdout) == {"servers": {"switchboard": {"type": "http", "url": URL}}}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--client", "emacs"), "known are: claude"),
        (("--client", "cursor", "--name", "a b"), "a name is letters"),
        (("--client", "cursor", "--url", "http://tools.example.com/mcp"), "use https, or --insecure"),
        (("--client", "cursor", "--url", "ftp://x"), "not an http or https URL"),
    ],
)
def test_what_cannot_be_installed_is_said_in_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = run("install", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- tools, call, wait ------------------------------------------------------------------------------------------------


def test_tools_are_listed_with_what_they_cost(signed_in: tuple[str, ...]) -> None:
    done = run("tools", *signed_in, "--json")
    assert done.exit_code == 0, done.output
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["echo"]["inputSchema"]["properties"] == {
        "message": found["echo"]["inputSchema"]["properties"]["message"]
    }
    assert found["echo"]["tokens"] > 10
    shown = run("tools", "echo", *signed_in)
    assert "echo" in shown.stdout
    assert "whoami" not in shown.stdout


def test_a_call_prints_its_result(signed_in: tuple[str, ...]) -> None:
    assert run("call", "add", "a=2", "b=3", *signed_in).stdout.strip().endswith("5.")
    done = run("call", "echo", "--arguments", '{"message": "hi"}', *signed_in, "--json")
    assert json.loads(done.stdout)["content"] == [{"type": "text", "text": "Echo: hi"}]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nothing",), 1, "nothing"),
        (("add", "a=x"), 1, "a"),
        (("add", "a"), 2, "give an argument as name=value"),
        (("add", "--arguments", "[1]"), 2, "must be a JSON object"),
        (("add", "--arguments", "{"), 2, "is no JSON"),
    ],
)
def test_a_call_that_fails_says_why_and_has_an_exit_code(
    arguments: tuple[str, ...], code: int, says: str, signed_in: tuple[str, ...]
) -> None:
    done = run("call", *arguments, *signed_in)
    assert done.exit_code == code, done.output
    assert says in done.output


def test_a_refused_token_is_an_error_of_one_line(integrated: str) -> None:
    done = run("tools", "--url", integrated, "--token", "wrong")
    assert done.exit_code == 1
    assert "not valid here" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_question_is_answered_at_the_terminal(integrated: str, tmp_path: Path) -> None:
    token = obtain_token(integrated, user="alice")
    terminal, inner = pty.openpty()
    command = [COMMAND, "call", "elicitInputs", "--url", integrated, "--token", token]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, cwd=tmp_path, env=bare({}))
    os.close(inner)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    seen, answered = b"", False
    with contextlib.suppress(OSError):  # at the terminal's end
        while part := os.read(terminal, 4096):
            seen += part
            if not answered and b"Full name" in seen:
                os.write(terminal, b"Ann Example\nmaybe\nyes\n" + b"\n" * 40)
                answered = True
    watchdog.cancel()
    os.close(terminal)
    assert process.wait() == 0, seen
    assert b"yes or no" in seen
    assert b"Ann Example" in seen.split(b"Elicitation result")[1]


def test_waiting_ends_once_the_server_is_ready(integrated: str) -> None:
    done = run("wait", "--url", integrated, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["status"] == "ready"


def test_waiting_for_nobody_ends_with_the_reason() -> None:
    done = run("wait", "--url", f"http://localhost:{free_port()}", "--timeout", "0")
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
