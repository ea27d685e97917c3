"""Running the harness as a person does, and telling it stories of which it must find the fault."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def chaos(tmp_path: Path) -> Run:
    """Run `python -m tools.chaos` with the arguments, and keep what it wrote in the test's folder.

    Coverage is not measured in there: it would make every worker several times slower, and killed ones report none.
    """

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.chaos", "--folder", str(tmp_path), *arguments]
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=env)

    return run
