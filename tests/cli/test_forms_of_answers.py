"""What holds for every command: `--json`, errors as JSON, and exit codes of the one table."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from switchboard import cli
from switchboard.cli.commands import app, every_command
from switchboard.cli.exit_codes import CANNOT_TELL, FAILED, MEANINGS, OF_COMMANDS, WRONG_SETTING, codes
from switchboard.cli.output import WITHOUT_JSON
from switchboard.settings import Settings
from tests.cli.conftest import COMMAND, bare
from tools import cli_reference

NOWHERE: Final = "http://127.0.0.1:9"
KEY: Final = "a key that is long enough to be one"

ENDINGS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "serve": (("--port", "99999"), WRONG_SETTING),
    "auth-server": (("--port", "99999"), WRONG_SETTING),
    "token": (("--url", NOWHERE), FAILED),
    "connect": (("ftp://x",), WRONG_SETTING),
    "tools": (("--url", NOWHERE, "--token", "t"), FAILED),
    "call": (("add", "a", "--url", NOWHERE), WRONG_SETTING),
    "why": (("alice", "echo", "--url", NOWHERE), CANNOT_TELL),
    "wait": (("--url", NOWHERE, "--timeout", "0"), FAILED),
    "install": (("--client", "emacs"), WRONG_SETTING),
    "config check": (("none.yaml",), WRONG_SETTING),
    "config show": (("--config", "none.yaml"), WRONG_SETTING),
    "config import": (("none.json",), WRONG_SETTING),
    "servers list": (("--config", "none.yaml"), WRONG_SETTING),
    "servers add": (("x", "https://example.com/mcp"), WRONG_SETTING),
    "servers remove": (("x",), WRONG_SETTING),
    "servers enable": (("x",), WRONG_SETTING),
    "servers disable": (("x",), WRONG_SETTING),
    "servers restart": (("x",), FAILED),
    "servers wait": (("x", "--timeout", "0"), FAILED),
    "servers logs": (("x",), FAILED),
    "search": (("files",), FAILED),
    "add": (("io.github.nobody/none",), FAILED),
    "plugins list": (("--config", "none.yaml"), WRONG_SETTING),
    "plugins enable": (("x",), WRONG_SETTING),
    "plugins disable": (("x",), WRONG_SETTING),
    "plugins configure": (("x", "y"), WRONG_SETTING),
    "plugins config": (("x", "--url", NOWHERE), FAILED),
    "plugins remove": (("x", "--url", NOWHERE), FAILED),
    "plugins reload": (("x",), FAILED),
    "plugins new": (("Not A Name",), WRONG_SETTING),
    "credentials list": (("--url", NOWHERE), FAILED),
    "credentials show": (("c", "--url", NOWHERE), FAILED),
    "credentials set": (("p", "n", "--url", NOWHERE), WRONG_SETTING),
    "credentials delete": (("c", "--url", NOWHERE), FAILED),
    "credentials check": (("c", "--url", NOWHERE), FAILED),
    "connections list": (("--url", NOWHERE), FAILED),
    "connections check": (("c", "--url", NOWHERE), FAILED),
    "connections end": (("c", "--url", NOWHERE), FAILED),
    "vault status": (("--no-such",), WRONG_SETTING),
    "vault rotate": (("--no-such",), WRONG_SETTING),
    "vault delete": ((), WRONG_SETTING),
    "vault backup": ((), WRONG_SETTING),
    "vault restore": ((), WRONG_SETTING),
    "audit list": ((), WRONG_SETTING),
    "audit export": ((), WRONG_SETTING),
    "audit verify": (("none.txt",), FAILED),
    "workers list": (("--url", NOWHERE), FAILED),
    "workers drain": (("w", "--url", NOWHERE), FAILED),
    "sessions list": (("--url", NOWHERE), FAILED),
    "sessions end": (("s", "--url", NOWHERE), FAILED),
    "streams list": (("--url", NOWHERE), FAILED),
    "streams end": (("s", "--url", NOWHERE), FAILED),
    "presets list": (("--config", "none.yaml"), WRONG_SETTING),
    "presets show": (("gone",), WRONG_SETTING),
    "lab list": (("--url", NOWHERE), CANNOT_TELL),
    "lab run": (("--url", NOWHERE, "--", "true"), CANNOT_TELL),
    "lab report": (("r", "--url", NOWHERE), CANNOT_TELL),
    "completion": (("csh",), WRONG_SETTING),
    "version": (("--no-such",), WRONG_SETTING),
    "config schema": (("--no-such",), WRONG_SETTING),
}
"""By command, how it ends badly where there is no server, no Redis and no file."""

NO_ERROR: Final = {"doctor": "says what is wrong as findings, its settings too"}


EVERY: Final = dict(every_command())


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, no setting of this machine, no server."""
    monkeypatch.chdir(tmp_path)
    for name in (*Settings.model_fields, "SWITCHBOARD_TOKEN"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("PORT", "9")
    monkeypatch.setenv("AUTH_SERVER_PORT", "9")  # `auth-server --port` writes it, and it is restored with this
    monkeypatch.setenv("MCP_REGISTRY_URL", NOWHERE)


def has_json(command: Any) -> bool:
    return any("--json" in parameter.opts and parameter.name == "as_json" for parameter in command.params)


def test_every_command_answers_with_json_or_is_listed_with_the_reason_why_not() -> None:
    assert {name for name, command in EVERY.items() if not has_json(command)} == set(WITHOUT_JSON)


def test_every_command_is_made_to_end_badly() -> None:
    assert set(ENDINGS) | set(NO_ERROR) == set(EVERY)


@pytest.mark.parametrize("command", ENDINGS)
@pytest.mark.usefixtures("nothing")
def test_a_command_ends_with_a_code_of_its_own_table_and_says_why(command: str) -> None:
    arguments, code = ENDINGS[command]
    json_asked = () if command in WITHOUT_JSON else ("--json",)
    done = CliRunner().invoke(app, [*command.split(), *json_asked, *arguments])
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (code, True), done
    assert code in codes(command)
    assert done.stdout == ""
    if json_asked:
        last = json.loads(done.stderr.splitlines()[-1])
        assert last == {"error": {"message": last["error"]["message"], "exit_code": code}}
        assert last["error"]["message"]
    else:
        assert done.stderr.strip()


def test_a_question_that_is_declined_ends_the_command_and_is_said_as_json(tmp_path: Path, redis_url: str) -> None:
    env = bare({"REDIS_URL": redis_url, "SECRET_KEY": KEY, "VAULT_KEYS": KEY})
    command = [COMMAND, "vault", "delete", "--owner", "ann", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, input="n\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (FAILED, "")
    assert json.loads(done.stderr.splitlines()[-1])["error"]["message"] == "declined: nothing was done"


def test_an_error_of_a_command_without_json_is_one_line_even_after_one_with_it(nothing: None) -> None:
    asked = CliRunner().invoke(app, ["presets", "show", "gone", "--json"])
    plain = CliRunner().invoke(app, ["presets", "show", "gone"])
    assert json.loads(asked.stderr)["error"]["message"] in plain.stderr
    assert plain.stderr.startswith("switchboard: ")


def test_the_table_names_commands_that_there_are_and_codes_that_it_explains() -> None:
    assert set(OF_COMMANDS) <= set(EVERY)
    assert {code for row in OF_COMMANDS.values() for code in row} <= set(MEANINGS)


def test_the_page_of_commands_is_what_the_code_says() -> None:
    assert cli_reference.PAGE.read_text() == cli_reference.page(), (
        "docs/cli.md is not what it should be: make reference"
    )


@pytest.mark.parametrize("command", EVERY)
def test_every_argument_and_option_says_what_it_is_for(command: str) -> None:
    assert [each.name for each in EVERY[command].params if not each.help] == []


def test_no_command_ends_with_a_code_that_the_table_has_not() -> None:
    """Codes are given by their names in exit_codes, so that none is made up on the way."""
    unnamed = []
    for file in sorted(Path(*cli.__path__).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Exit", "sys.exit", "SystemExit"):
                parts = [node.args[0].body, node.args[0].orelse] if isinstance(node.args[0], ast.IfExp) else node.args
                if any(isinstance(part, ast.Constant) for part in parts):
                    unnamed.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
    assert unnamed == []
