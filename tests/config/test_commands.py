"""The configuration commands, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from switchboard.cli.commands import app
from switchboard.config import read
from switchboard.settings import Settings

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("config", "check", CONFIG_FILE=…)` in an empty folder, without a setting of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def typed(*words: str, **env: str) -> Result:
        return CliRunner().invoke(app, list(words), env={"CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "200", **env})

    return typed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "switchboard.yaml"
    path.write_text(
        "mcpServers:\n"
        "  web: {url: 'https://example.org/mcp?key=hunter2', tags: [web], headers: {X-Key: hunter2}}\n"
        "  old: {command: sh, disabled: true}\n"
        "presets:\n  dev: {tags: web, description: For work}\n"
    )
    return path


def test_check_counts_what_is_valid_and_says_what_is_not(run: Run, file: Path) -> None:
    good = run("config", "check", str(file))
    assert (good.exit_code, good.stdout) == (0, f"{file}: valid: 0 plugins, 1 servers, 1 presets\n")
    file.write_text("mcpServers: {x: {command: a, colour: red}}")
    bad = run("config", "check", CONFIG_FILE=str(file))
    assert bad.exit_code == 2
    assert "line 1: mcpServers.x.colour: is not a known key, not 'red'" in bad.stderr


@pytest.mark.parametrize("words", [("config", "show"), ("config", "show", "--json"), ("servers", "list"), ("doctor",)])
def test_nothing_shows_a_secret(run: Run, file: Path, words: tuple[str, ...]) -> None:
    shown = run(*words, "--config", str(file))
    assert "hunter2" not in shown.output
    assert shown.exit_code == 0 or words == ("doctor",)


def test_schema_is_json(run: Run) -> None:
    assert json.loads(run("config", "schema").stdout)["title"] == "Switchboard configuration"


def test_a_desktop_file_is_imported_with_a_backup_and_again_only_when_asked(
    run: Run, file: Path, tmp_path: Path
) -> None:
    desktop = tmp_path / "desktop.json"
    desktop.write_text('{"mcpServers": {"fs": {"command": "npx", "trust": true}}, "theme": "dark"}')
    preview = run("config", "import", str(desktop), "--dry-run")
    assert "command: npx" in preview.stdout
    first = run("config", "import", str(desktop), "--config", str(file))
    assert first.exit_code == 0, first.output
    assert "left out: fs.trust: has no place here" in first.stderr
    assert "1 servers taken over; backup: " in first.stdout
    assert list(read(file, {}).servers) == ["web", "old", "fs"]
    desktop.write_text('{"mcpServers": {"fs": {"command": "no"}, "new": {"command": "b", "env": {"K": "${GONE}"}}}}')
    second = run("config", "import", str(desktop), "--config", str(file))
    assert "left out: fs: there is a server of that name; use --replace, or rename it" in second.stderr
    assert "1 servers taken over" in second.stdout
    assert read(file, {"GONE": "v"}).servers["new"].env == {"K": "v"}
    assert read(file, {}).servers["fs"].command == "npx"
    third = run("config", "import", str(desktop), "--config", str(file))
    assert (third.exit_code, "nothing was taken over" in third.stderr) == (2, True)
    assert run("config", "import", str(desktop), "--config", str(file), "--replace").exit_code == 0


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (["https://a.example", "--header", "K: ${V:-}"], {"url": "https://a.example", "headers": {"K": "${V:-}"}}),
        (["--env", "A=b=c", "--", "npx", "-y", "p"], {"command": "npx", "args": ["-y", "p"], "env": {"A": "b=c"}}),
        (["--tag", "t", "--", "sh"], {"command": "sh", "tags": ["t"]}),
        (["--source", "npm", "--from", "p", "--version", "1.2"], {"source": "npm", "package": "p", "version": "1.2"}),
        (["--source", "git", "--from", "https://h/r"], {"source": "git", "repository": "https://h/r"}),
    ],
)  # fmt: skip
def test_servers_are_added_as_they_are_typed(run: Run, tmp_path: Path, words: list[str], row: dict[str, Any]) -> None:
    made = tmp_path / "new.json"
    added = run("servers", "add", "x", "--config", str(made), *words)
    assert added.exit_code == 0, added.output
    assert json.loads(made.read_text())["mcpServers"] == {"x": row}


@pytest.mark.parametrize(
    "words",
    [
        ["add", "web", "https://a.example"],
        ["add", "x"],
        ["add", "x", "http://a.example"],
        ["add", "x", "--source", "npm"],
        ["add", "x", "--env", "novalue", "--", "a"],
        ["remove", "gone"],
        ["enable", "gone"],
        ["restart", "web"],
        ["logs", "web"],
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(run: Run, file: Path, words: list[str]) -> None:
    before = file.read_text()
    done = run("servers", *words, CONFIG_FILE=str(file))
    assert done.exit_code == (1 if words[0] in ("restart", "logs") else 2)  # nobody runs: nothing is wrong in the file
    assert done.stderr.startswith("switchboard: ")
    assert done.stderr.count("\n") == 1
    assert file.read_text() == before


def test_servers_are_enabled_disabled_and_removed(run: Run, file: Path) -> None:
    given = {"CONFIG_FILE": str(file)}
    assert run("servers", "enable", "old", **given).exit_code == 0
    assert run("servers", "disable", "web", **given).exit_code == 0
    assert [section.enabled for section in read(file, {}).servers.values()] == [False, True]
    assert run("servers", "remove", "web", **given).exit_code == 0
    assert list(read(file, {}).servers) == ["old"]


def test_a_list_of_servers_says_where_each_comes_from(run: Run, file: Path) -> None:
    shown = run("servers", "list", "--config", str(file))
    assert "https://example.org/mcp" in shown.stdout
    assert "disabled" in shown.stdout


def test_presets_are_listed_and_shown_with_what_contributes(run: Run, file: Path) -> None:
    given = {"CONFIG_FILE": str(file)}
    assert "/mcp?preset=dev" in run("presets", "list", **given).stdout
    shown = run("presets", "show", "dev", **given).stdout
    assert "contributing:\n- web" in shown
    assert run("presets", "show", "gone", **given).exit_code == 2


def test_the_doctor_says_what_is_wrong_and_fails(run: Run, file: Path) -> None:
    file.write_text("mcpServers: {x: {command: no-such-program}, d: {source: docker, image: i}}")
    found = run("doctor", CONFIG_FILE=str(file), PATH="/nowhere")
    assert found.exit_code == 1
    assert "FAILED   configuration: mcpServers.x: the program 'no-such-program' is not on the PATH" in found.stdout
    assert "FAILED   configuration: mcpServers.d: the program 'docker', which servers from" in found.stdout


def test_the_doctor_finds_a_redis_that_is_away(run: Run) -> None:
    away = {"REDIS_URL": "redis://127.0.0.1:9/0", "SECRET_KEY": "a key that is long enough to be one"}
    assert "FAILED   state: Redis cannot be reached" in run("doctor", **away).stdout
