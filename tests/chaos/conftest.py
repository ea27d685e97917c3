"""Running the harness as a person does, and telling it stories of which it must find the fault."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.fleet.workers import unmeasured

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def chaos(tmp_path: Path) -> Run:
    """Run `python -m tools.chaos` with the arguments, and keep what it wrote in the test's folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.chaos", "--folder", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=unmeasured())

    return run
