"""The scripts a newcomer learns from: each is run as it stands, against a real fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.fleet.workers import Fleet


def run(command: list[str], **env: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **env})
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_authorization_flow_by_curl_ends_with_a_token_that_works(fleet: Fleet, scratch_folder: Path) -> None:
    out = run([str(scratch_folder / "oauth.sh"), fleet.base, "bob"])
    assert "resource_metadata=" in out
    token = out.splitlines()[-1]
    calls = run([str(scratch_folder / "handshake.sh"), fleet.base], TOKEN=token)
    assert calls.count("bob in ") == 3


def test_a_session_by_curl_is_served_by_both_workers_and_gone_after_delete(
    fleet: Fleet, token: str, scratch_folder: Path
) -> None:
    out = run([str(scratch_folder / "handshake.sh"), fleet.base], TOKEN=token)
    assert "Echo: hello" in out
    assert out.count("notifications/progress") == 3
    assert len({line.split()[-1] for line in out.splitlines() if " served by " in line}) == 2
    assert out.split()[-1] == "404"


def test_modern_calls_by_curl_answer_questions_on_any_worker(fleet: Fleet, token: str, scratch_folder: Path) -> None:
    out = run([str(scratch_folder / "modern.sh"), fleet.base], TOKEN=token)
    assert "Echo: hello" in out
    assert '"city":"Oslo"' in out.splitlines()[-1].replace(": ", ":")
    assert '"nights":3' in out.splitlines()[-1].replace(": ", ":")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_small_python_client_takes_its_tour(fleet: Fleet, scratch_folder: Path, mode: str) -> None:
    out = run([sys.executable, str(scratch_folder / "client.py"), fleet.url, mode])
    assert "'city': 'Oslo'" in out


def test_a_session_can_be_watched_in_redis_as_it_lives(fleet: Fleet, token: str, scratch_folder: Path) -> None:
    watch = [sys.executable, "-u", "-m", "tools.watch_session", fleet.redis.url, "--seconds", "60"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "waiting for the next one" in watching.stdout.readline()
        run([str(scratch_folder / "handshake.sh"), fleet.base], TOKEN=token)
        seen = watching.stdout.read()
    assert "+ hash    session:{" in seen
    assert "+ stream  mcp:events:{" in seen
    assert seen.rstrip().endswith("the session is gone")
