"""`switchboard completion`: what a shell is told, and what it gets when it asks how a line can go on."""

from __future__ import annotations

import subprocess

import pytest

from switchboard.cli.commands import COMMANDS
from tests.cli.conftest import COMMAND, bare

ASK = """
source <("$0" completion bash)
COMP_WORDS=($1) COMP_CWORD=$2
_switchboard_completion "$0"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(line: str, word: int) -> list[str]:
    """What bash offers for a word of a line."""
    given = ["/bin/bash", "-c", ASK, COMMAND, line, str(word)]
    done = subprocess.run(given, capture_output=True, text=True, timeout=300, check=True, env=bare({}))
    return done.stdout.split()


def test_bash_completes_commands_of_the_table_and_those_below_them() -> None:
    assert completed("switchboard pl", 1) == ["plugins"]
    assert set(completed("switchboard", 1)) == set(COMMANDS)
    assert {"list", "enable", "disable"} <= set(completed("switchboard plugins", 2))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_whom_to_ask(shell: str) -> None:
    done = subprocess.run([COMMAND, "completion", shell], capture_output=True, text=True, timeout=300, check=True)
    assert f"_SWITCHBOARD_COMPLETE=complete_{shell}" in done.stdout


def test_another_shell_is_refused() -> None:
    assert subprocess.run([COMMAND, "completion", "csh"], capture_output=True, timeout=300, check=False).returncode == 2
