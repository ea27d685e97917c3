"""The `switchboard` command as a process: started, waited for, and ended with the test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchboard.settings import Settings
from tools.fleet.children import Child, answers, free_port, start

COMMAND = str(Path(sys.executable).parent / "switchboard")


def bare(env: dict[str, str]) -> dict[str, str]:
    """This machine's environment without a Switchboard setting, and `env`."""
    names = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in names} | env


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start `switchboard ARGUMENTS` in an empty folder: `launch("serve", "--port", "1", LOG_LEVEL="debug")`."""
    started: list[Child] = []

    def run(*arguments: str, **env: str) -> Child:
        child = start(f"switchboard-{len(started)}", [COMMAND, *arguments], tmp_path, bare(env))
        started.append(child)
        return child

    yield run
    for child in started:
        if child.process.poll() is None:
            child.stop()


@pytest.fixture(scope="session")
def integrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server with everything in one process, for tests that leave it as it is."""
    port = free_port()
    command = [COMMAND, "serve", "--port", str(port)]
    child = start("integrated", command, tmp_path_factory.mktemp("integrated"), bare({}))
    child.wait_until(lambda: answers(port, "/readyz"), timeout=120)
    yield f"http://localhost:{port}"
    child.stop()
