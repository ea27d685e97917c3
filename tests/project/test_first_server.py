"""The first screen of docs/gateway.md, followed block by block, at another port."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from switchboard.settings import Settings
from tools.fleet.children import answers, free_port, start

ROOT = Path(__file__).parents[2]
SCREEN = (ROOT / "docs" / "gateway.md").read_text().partition("## What passes through")[0]
PATIENCE = 300
EVERY_S = 0.2


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SCREEN, re.DOTALL)


Run = Callable[[str], str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run a block beside the server that the screen starts; what it printed."""
    port = free_port()
    (server,), (configuration,) = blocks("python"), blocks("yaml")
    (tmp_path / "server.py").write_text(server)
    (tmp_path / "switchboard.yaml").write_text(configuration)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    ours = {name.upper() for name in Settings.model_fields}
    env = {name: value for name, value in os.environ.items() if name not in ours} | {
        "PORT": str(port),
        "COLUMNS": "200",
    }

    def ran(block: str) -> str:
        command = ["bash", "-euc", block.replace("localhost:3232", f"localhost:{port}")]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    serving = re.fullmatch(r'make serve ARGS="(.*)"\n', blocks("sh")[0])
    assert serving is not None
    child = start("serve", [".venv/bin/switchboard", "serve", *serving[1].split()], tmp_path, env)
    child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    yield ran
    child.stop()


def listed(run: Run, block: str, wanted: Sequence[str]) -> set[str]:
    """What the block lists, once it lists what is wanted, or at the end of patience."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {tool["name"] for tool in json.loads(run(block))["result"]["tools"]}
        if found >= set(wanted) or time.monotonic() > deadline:
            return found
        time.sleep(EVERY_S)


def test_a_newcomer_sees_a_server_of_their_own_and_adds_more_from_the_command_line(run: Run) -> None:
    _, listing, adding, looking = blocks("sh")
    assert listed(run, listing, ["hello__greet"]) == {"hello__greet"}
    by_command, by_package, by_url = adding.splitlines()
    run(by_command)
    assert listed(run, listing, ["hello__greet", "again__greet"]) == {"hello__greet", "again__greet"}
    run(f"{by_package} --env UV_OFFLINE=1\n{by_url.replace('docs.example.com', '127.0.0.1:9')}")
    shown, _, _ = looking.partition(".venv/bin/switchboard servers logs")
    rows = {line.split()[0]: line for line in run(shown).splitlines() if line.strip()}
    assert {"hello", "again", "time", "docs"} <= set(rows)
    assert "ready" in rows["hello"]
    assert run(looking.removeprefix(shown).replace("logs docs", "logs hello")) is not None
