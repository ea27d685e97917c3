"""The Dockerfile: linted, read, and what it has Docker run, run here. No Docker runs where the tests do."""

from __future__ import annotations

import fnmatch
import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from switchboard.backends.transports.child_environment import environment
from switchboard.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
Stage = list[tuple[str, str]]


def stages() -> dict[str, Stage]:
    """The instructions of each stage, by its name; the last one is ""."""
    plain = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, plain.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [("FROM", base)]
        else:
            found[[*found][-1]].append((word, rest.strip()))
    return found


STAGES = stages()


def whole(name: str) -> Stage:
    """All instructions of a stage, those of the stages below it first."""
    (_, base), *own = STAGES[name]
    return [*(whole(base) if base in STAGES else []), *own]


def last(name: str, word: str) -> str:
    return [rest for each, rest in whole(name) if each == word][-1]


def variables(name: str) -> dict[str, str]:
    lines = [rest for word, rest in whole(name) if word == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def test_a_linter_of_dockerfiles_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_without_a_target_the_image_is_switchboard_alone_and_with_one_it_has_what_starts_servers() -> None:
    assert STAGES[""] == [("FROM", "alone")]
    assert [*STAGES][-1] == ""
    assert not any("node" in rest for _, rest in whole("alone"))
    assert STAGES["backends"][0] == ("FROM", "alone")
    copied = [rest.split()[-1] for word, rest in STAGES["backends"] if word == "COPY"]
    linked = re.findall(r"ln -s \S+ (\S+)", " ".join(rest for word, rest in STAGES["backends"] if word == "RUN"))
    assert {Path(path).name for path in [*copied, *linked]} >= {"node", "npm", "npx"}
    assert any("pip install" in rest and " uv " in f"{rest} " for _, rest in STAGES["backends"])


@pytest.mark.parametrize("target", ["", "backends"])
def test_each_image_runs_as_the_user_that_kubernetes_names_and_serves(target: str) -> None:
    deployment = yaml.safe_load((ROOT / "deploy/kubernetes/deployment.yaml").read_text())
    user = deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert last(target, "USER") == str(user)
    assert any(f"--uid {user}" in rest for word, rest in whole(target) if word == "RUN")
    assert json.loads(last(target, "ENTRYPOINT")) + json.loads(last(target, "CMD")) == ["switchboard", "serve"]
    assert last(target, "STOPSIGNAL") == "SIGTERM"


def test_what_is_copied_is_there_and_let_through_to_docker() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    refused = [line for line in lines if line and not line.startswith(("!", "#", "*"))]
    sources = [
        source
        for stage in STAGES.values()
        for word, rest in stage
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        name = source.removeprefix("./")
        assert (ROOT / name).exists()
        assert name in allowed
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in refused)


def test_what_servers_are_installed_into_is_a_volume_of_the_user_and_their_children_are_told() -> None:
    told, volume = variables("backends"), last("backends", "VOLUME")
    caches = {name: path for name, path in told.items() if name.endswith(("CACHE", "CACHE_DIR"))}
    assert "cache_dir" in Settings.model_fields
    assert caches.keys() == {"CACHE_DIR", "NPM_CONFIG_CACHE", "UV_CACHE_DIR"}
    assert all(path == volume or path.startswith(f"{volume}/") for path in caches.values())
    assert environment({}, told).items() >= {(name, caches[name]) for name in ("NPM_CONFIG_CACHE", "UV_CACHE_DIR")}
    assert any(
        f"chown {last('backends', 'USER')} {volume}" in rest for word, rest in whole("backends") if word == "RUN"
    )


@contextmanager
def worker(status: int) -> Iterator[int]:
    """Something that answers with the status; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_says_what_a_worker_says(status: int, healthy: bool) -> None:
    program, *arguments = json.loads(last("", "HEALTHCHECK").partition(" CMD ")[2])
    assert program == "python"
    with worker(status) as port:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env={"PORT": str(port)}, capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) is healthy
