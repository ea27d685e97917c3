"""`switchboard plugins …`, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from switchboard.cli.commands import app

HELLO = """
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel
from switchboard.plugins import Plugin

class Settings(BaseModel, extra="forbid"):
    times: int = 1

plugin = Plugin("hello", "1.2", lambda context: MCPServer("hello"), description="Greets.", config=Settings)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plugins folder and a configuration file."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hello.py").write_text(HELLO)
    (tmp_path / "switchboard.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PLUGINS_DIR": "plugins",
        "CONFIG_FILE": "switchboard.json",
        "PORT": "45101",
        "XDG_RUNTIME_DIR": str(tmp_path),
        "SECRET_KEY": "a key for tests that is long enough to be one",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def plugins(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plugins", *arguments])


def written(folder: Path) -> Any:
    return json.loads((folder / "switchboard.json").read_text())


def test_the_list_has_what_is_installed_and_what_is_in_the_folder(folder: Path) -> None:
    rows = {row["name"]: row for row in json.loads(plugins("list", "--json").stdout)}
    assert rows["hello"] == {"name": "hello", "where": "plugins/hello.py", "enabled": True, "workers": []}
    assert rows["everything"]["where"] == "entry point switchboard.everything:plugin"
    shown = plugins("list")
    assert shown.exit_code == 0
    assert "hello" in shown.stdout
    assert "no running worker answers for port 45101" in shown.stderr


def test_without_redis_changes_are_made_in_the_file(folder: Path) -> None:
    assert plugins("disable", "hello").exit_code == 0
    assert written(folder) == {"plugins": {"hello": {"enabled": False}}}
    done = plugins("enable", "hello", "--json")
    assert json.loads(done.stdout) == {"plugin": "hello", "changed": {"enabled": True}, "where": "switchboard.json"}
    assert plugins("configure", "hello", "times=3").exit_code == 0
    assert written(folder)["plugins"]["hello"] == {"enabled": True, "config": {"times": 3}}
    assert plugins("configure", "hello", "times=").exit_code == 0
    assert written(folder)["plugins"]["hello"]["config"] == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["configure", "hello", "times=often"], "plugins.hello.config: times must be a whole number"),
        (["configure", "hello", "color=red"], "plugins.hello.config: color is not known"),
        (["configure", "hello", "times"], "'times' is not KEY=VALUE"),
        (["enable", "nothing"], "plugins.nothing: no such plugin is installed or in plugins"),
        (["new", "Not A Name"], "'Not A Name' is no name of a plugin"),
        (["new", "hello", "--in", "plugins"], "plugins/hello is there already"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(folder: Path, arguments: list[str], said: str) -> None:
    failed = plugins(*arguments)
    assert (failed.exit_code, written(folder)) == (2, {})
    assert said in failed.stderr


def test_a_reload_needs_a_worker(folder: Path) -> None:
    failed = plugins("reload", "hello")
    assert failed.exit_code == 1
    assert "no running worker answers for port 45101" in failed.stderr


def test_a_new_plugin_works_and_its_test_passes(folder: Path) -> None:
    made = plugins("new", "first-tool")
    assert made.exit_code == 0
    assert made.stdout.splitlines()[:2] == ["plugins/first_tool/__init__.py", "plugins/first_tool/test_first_tool.py"]
    assert "first-tool" in {row["name"] for row in json.loads(plugins("list", "--json").stdout) if row["enabled"]}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "plugins/first_tool"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
