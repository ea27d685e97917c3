"""What is kept for one user: never through a link, never in a folder that others reach."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from switchboard.cli.commands import app
from switchboard.cli.connect.token_store import TokenFile, TokenFileError
from switchboard.worker_control import WorkerControl
from switchboard.worker_socket import answering_here, ask_here, nobody, socket_file

SERVER = "https://mcp.example.com/mcp"


def test_tokens_are_not_read_through_a_link(tmp_path: Path) -> None:
    elsewhere, token_file = tmp_path / "elsewhere.json", TokenFile(tmp_path, SERVER)
    elsewhere.write_text(json.dumps({"server": SERVER, "tokens": {"access_token": "of somebody else"}}))
    token_file.file.symlink_to(elsewhere)
    with pytest.raises(TokenFileError, match="is a symbolic link, which is not followed; remove it"):
        token_file.read()
    done = CliRunner().invoke(app, ["connect", SERVER, "--tokens", str(tmp_path), "--sign-in"])
    assert done.exit_code == 1
    assert done.stderr.endswith(f"{token_file.file} is a symbolic link, which is not followed; remove it\n")


def test_a_link_in_the_place_of_the_tokens_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    elsewhere, token_file = tmp_path / "elsewhere", TokenFile(tmp_path, SERVER)
    elsewhere.write_text("somebody's")
    for name in (token_file.file, token_file.file.with_suffix(f".{os.getpid()}")):
        name.symlink_to(elsewhere)
    token_file.write({"tokens": {"access_token": "ours"}})
    assert elsewhere.read_text() == "somebody's"
    assert stat.S_IMODE(token_file.file.lstat().st_mode) == 0o600
    assert token_file.read()["tokens"] == {"access_token": "ours"}


async def test_the_lock_of_the_tokens_makes_no_file_at_the_end_of_a_link(tmp_path: Path) -> None:
    made, token_file = tmp_path / "made", TokenFile(tmp_path, SERVER)
    token_file.file.with_suffix(".lock").symlink_to(made)
    with pytest.raises(TokenFileError, match="is a symbolic link, which is not followed"):
        async with token_file.locked():
            pass
    assert not made.exists()


def test_tokens_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    token_file = TokenFile(tmp_path, SERVER)
    token_file.write({})
    token_file.file.chmod(0o644)
    token_file.read()
    assert stat.S_IMODE(token_file.file.stat().st_mode) == 0o600


def test_tokens_are_not_kept_in_a_folder_that_others_reach(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(TokenFileError, match=f"is open to other users; close it with: chmod 700 {folder}"):
        TokenFile(folder, SERVER).write({})
    assert list(folder.iterdir()) == []


def test_forgetting_tokens_removes_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    token_file = TokenFile(tmp_path, SERVER)
    token_file.file.symlink_to(tmp_path / "nowhere")
    assert token_file.forget() is True
    assert not token_file.file.is_symlink()


async def told(_names: object) -> bool:
    return False


async def test_a_worker_is_not_asked_in_a_folder_that_others_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = socket_file(45_104).parent
    control = WorkerControl(lambda: {"said": "by whoever answers"}, bool, told, lambda _name: [], lambda: None)
    async with answering_here(45_104, control):
        assert [answer["said"] for answer in await ask_here(45_104)] == ["by whoever answers"]
        folder.chmod(0o777)
        assert await ask_here(45_104) == []
        assert nobody(45_104) == (
            f"no worker can be asked: {folder} is open to other users; close it with: chmod 700 {folder}"
        )
