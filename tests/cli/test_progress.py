"""How far long work is: shown at a terminal, and nowhere else."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from switchboard.cli.progress import progress
from tests.cli.conftest import COMMAND, bare

KEY = "a key that is long enough to be one"


def test_nothing_but_lines_for_a_person_is_written_where_standard_error_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("work") as shown:
        shown.at(1, 2)
        shown.doing("more work")
        shown.say("a line")
    assert capsys.readouterr() == ("", "switchboard: a line\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_command_shows_how_far_it_is_on_standard_error_alone(terminal: bool, redis_url: str, tmp_path: Path) -> None:
    env = bare({"REDIS_URL": redis_url, "SECRET_KEY": KEY, "VAULT_KEYS": KEY, "TERM": "xterm"})
    ours, its = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "vault", "rotate", "--json"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=its if terminal else subprocess.PIPE,
        text=True,
    ) as process:
        os.close(its)
        stdout, stderr = process.communicate(timeout=60)
    seen = stderr or ""
    with contextlib.suppress(OSError):  # at the terminal's end
        while part := os.read(ours, 4096):
            seen += part.decode()
    os.close(ours)
    assert process.returncode == 0, seen
    assert json.loads(stdout)["reencrypted"] == 0
    assert ("encrypting the credentials" in seen) == terminal
