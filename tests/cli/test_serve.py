from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from switchboard import __version__
from switchboard.cli.commands import COMMANDS, app
from switchboard.cli.processes.banner import screen
from switchboard.cli.processes.serve import watched
from switchboard.common.garbage import THRESHOLDS
from switchboard.settings import load_settings
from tools.fleet.children import LOOPBACK, Child, answers, free_port, start
from tools.fleet.redis_server import RedisServer

Launch = Callable[..., Child]
PATIENCE = 300
WAITED_FOR_REDIS = 300
"""A worker that starts waits half a minute for its Redis, and this machine may be busy."""
COMMAND = str(Path(sys.executable).parent / "switchboard")


def serving(launch: Launch, *arguments: str, **env: str) -> tuple[Child, int]:
    """A server that is ready, and its port."""
    port = free_port()
    child = launch("serve", "--port", str(port), *arguments, **env)
    child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    return child, port


def ready(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    try:
        connection.request("GET", "/readyz")
        document: dict[str, Any] = json.loads(connection.getresponse().read())
        return document
    finally:
        connection.close()


def ended(child: Child) -> tuple[int, str]:
    return child.process.wait(PATIENCE), child.log.read_text()


def test_one_command_serves_and_says_where(launch: Launch) -> None:
    child, port = serving(launch)
    assert ready(port)["state"] == "memory://"
    events = [json.loads(line) for line in child.log.read_text().splitlines()]
    (said,) = [event for event in events if event["message"] == "server.started"]
    assert said["url"] == f"http://localhost:{port}/mcp"
    assert said["auth"] == "integrated"


def test_a_person_sees_one_screen(launch: Launch) -> None:
    child, port = serving(launch, LOG_FORMAT="console")
    shown = child.log.read_text()
    assert f"http://localhost:{port}/mcp" in shown
    assert "memory://" in shown
    assert f"inspector@2.12.0 --server-url http://localhost:{port}/mcp --transport http" in shown
    assert "with the fake identity provider: sign in as anyone" in shown
    (hint,) = (line for line in shown.splitlines() if "token --user alice" in line)
    command = hint.split("or get a token")[1].split()
    token = subprocess.run(command, cwd=child.log.parent, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert len(token.stdout.strip()) > 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"upstream": "oidc", "upstream_issuer": "https://idp.example"}, "people sign in at https://idp.example"),
        ({"upstream": "github"}, "people sign in at GitHub"),
        ({"auth_mode": "separate", "auth_server_url": "https://login.example"}, "separate, at https://login.example"),
    ],
)
def test_the_screen_says_where_people_sign_in(given: dict[str, str], said: str) -> None:
    shown = screen(load_settings(None, upstream_client_id="i", upstream_client_secret="s", **given))
    assert said in shown
    assert "anyone" not in shown
    assert "token --user" not in shown, "no command can sign somebody in there"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mcpServers": {"mine": {"command": "x", "enabled": False}}}, True),
        ({"plugins": {"everything": {}}, "mcpServers": {"mine": {"command": "x", "enabled": False}}}, False),
        ({}, False),
    ],
)
def test_the_screen_says_where_the_demo_went(document: dict[str, Any], said: bool, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(document))
    shown = screen(load_settings(None, config_file=file))
    assert ("not offered beside your servers; `plugins: {everything: {}}` in the file brings it back" in shown) is said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_is_a_success(launch: Launch, number: signal.Signals) -> None:
    child, _ = serving(launch)
    child.process.send_signal(number)
    code, log = ended(child)
    assert code == 0
    assert "Traceback" not in log


BREAKING = """
import asyncio, sys, types
from switchboard.cli.processes.serving import run_worker
from switchboard.cli.processes.sockets import bind
from switchboard.settings import load_settings

class Breaking:
    serving = True

    def drain(self): pass

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await serving.wait()
            raise RuntimeError("a task that holds the worker up has broken")

serving = asyncio.Event()
root = sys.modules["switchboard.app"] = types.ModuleType("switchboard.app")
root.build = lambda settings: Breaking()
sys.exit(run_worker(load_settings(), bind("127.0.0.1", 0), serving.set))
"""


def test_a_worker_whose_application_breaks_ends_instead_of_answering_500_for_ever(tmp_path: Path) -> None:
    child = start("breaking", [sys.executable, "-c", BREAKING], tmp_path, os.environ)
    try:
        code, said = ended(child)
    finally:
        child.process.kill()
    assert (code, "a task that holds the worker up has broken" in said) == (1, True)


HEAP = """
import gc, json, os, signal, sys
from switchboard.cli.processes.serving import run_worker
from switchboard.cli.processes.sockets import bind
from switchboard.settings import load_settings

def started():
    found = {"frozen": gc.get_freeze_count(), "thresholds": gc.get_threshold()}
    print(json.dumps(found | {"enabled": gc.isenabled(), "unfrozen": len(gc.get_objects())}), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

sys.exit(run_worker(load_settings(auth_mode="none"), bind("127.0.0.1", 0), started))
"""


def test_a_worker_that_serves_looks_for_garbage_in_what_is_new_only_and_not_often(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HEAP], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    found = json.loads(done.stdout.splitlines()[0])
    assert done.returncode == 0
    assert found["enabled"]
    assert found["thresholds"] == list(THRESHOLDS)
    assert found["frozen"] > 100_000
    assert found["unfrozen"] < 1_000, "what the start made is frozen once requests can be served, not before"


def test_a_wrong_setting_is_one_line_and_exit_code_2(launch: Launch) -> None:
    code, log = ended(launch("serve", AUTH_MODE="oauth"))
    assert code == 2
    assert len(log.splitlines()) == 1
    assert log.startswith("switchboard: AUTH_MODE is 'oauth'")


def test_a_wrong_option_is_said_as_the_setting_it_is(launch: Launch) -> None:
    code, log = ended(launch("serve", "--port", "99999"))
    assert code == 2
    assert log == "switchboard: PORT is '99999': must be at most 65535 (port to listen on, 1 to 65535)\n"


def test_a_taken_port_is_one_line_and_exit_code_2(launch: Launch) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        code, log = ended(launch("serve", "--port", str(port)))
    assert code == 2
    assert log.splitlines() == [
        f"switchboard: PORT={port} is taken on {LOOPBACK}: stop what listens there, or choose another with --port"
    ]


def test_a_redis_that_is_not_there_is_one_clear_line(launch: Launch) -> None:
    nowhere = f"redis://user:sesame@{LOOPBACK}:{free_port()}/0"
    child = launch("serve", "--port", str(free_port()), REDIS_URL=nowhere, SECRET_KEY=secrets.token_urlsafe(32))
    code, log = child.process.wait(WAITED_FOR_REDIS), child.log.read_text()
    assert code == 2
    assert "REDIS_URL" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert "sesame" not in log


def test_a_configuration_file_that_is_not_there_is_one_clear_line(launch: Launch) -> None:
    code, log = ended(launch("serve", "--port", str(free_port()), "--config", "missing.yaml"))
    assert code == 2
    assert len(log.splitlines()) == 1
    assert "missing.yaml" in log


@pytest.mark.parametrize("asked", [["--version"], ["version"]])
@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "switchboard"]], ids=["command", "module"])
def test_the_version_is_said_and_nothing_is_imported_for_it(command: list[str], asked: list[str]) -> None:
    done = subprocess.run(
        [*command, *asked],
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "switchboard.cli.commands" in imported
    assert not imported & {"mcp", "redis", "uvicorn", "httpx2", "starlette", "yaml"}


def test_what_the_parent_of_workers_stands_on_imports_nothing_that_only_they_need() -> None:
    asked = "import sys, switchboard.cli.processes.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "switchboard.cli.processes.supervisor" in imported
    assert not imported & {"mcp", "mcp_types", "redis", "httpx2", "jsonschema", "auth_server", "cryptography"}


def test_a_list_of_commands_needs_none_of_them() -> None:
    done = subprocess.run(
        [COMMAND, "--help"],
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name in done.stdout for name in COMMANDS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not imported & {"mcp", "redis", "uvicorn", "httpx2", "starlette", "yaml"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_of_the_table_is_there(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output


def test_a_plugin_that_is_being_edited_is_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weather"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    info = tmp_path / "weather-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[switchboard.plugins]\nweather = weather.plugin:plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package in watched()


def test_ctrl_c_is_answered_at_once_and_waits_for_no_balancer(launch: Launch, redis_server: RedisServer) -> None:
    for workers in ("1", "2"):
        child, _ = serving(
            launch, "--workers", workers, REDIS_URL=redis_server.url, SECRET_KEY=secrets.token_urlsafe(32),
            REDIS_PREFIX=f"ctrl-c-{workers}:", DRAIN_GRACE="600",
        )  # fmt: skip
        child.process.send_signal(signal.SIGINT)
        code, log = ended(child)
        assert code == 0
        assert log.count("stopping once running requests have ended; Ctrl-C again ends it now") == 1


def test_settings_are_read_from_a_file_in_the_folder(launch: Launch, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / ".env").write_text(f"PORT={port}\nAUTH_MODE=none\n")
    launch("serve").wait_until(lambda: answers(port, "/readyz"), PATIENCE)


def test_several_workers_on_memory_are_refused_with_what_to_do(launch: Launch) -> None:
    code, log = ended(launch("serve", "--workers", "2"))
    assert code == 2
    assert "memory://" in log
    assert "REDIS_URL" in log


def test_a_server_that_reloads_serves_and_stops(launch: Launch) -> None:
    child, _ = serving(launch, "--reload", AUTH_MODE="none")
    child.process.send_signal(signal.SIGINT)
    code, log = ended(child)
    assert code == 0
    assert "Traceback" not in log


def fleet(launch: Launch, redis_server: RedisServer, workers: int = 2) -> tuple[Child, int]:
    prefix = f"{secrets.token_hex(4)}:"
    env = {"REDIS_URL": redis_server.url, "REDIS_PREFIX": prefix, "SECRET_KEY": secrets.token_urlsafe(32)}
    child, port = serving(launch, "--workers", str(workers), **env)
    child.wait_until(lambda: '"server.started"' in child.log.read_text(), PATIENCE)
    return child, port


def pids(child: Child) -> list[int]:
    """The workers that ever served, the newest last."""
    events = [json.loads(line) for line in child.log.read_text().splitlines()]
    return [event["pid"] for event in events if event["message"] == "worker.served"]


def test_several_workers_share_one_port_under_their_own_names_and_one_that_dies_is_replaced(
    launch: Launch, redis_server: RedisServer
) -> None:
    child, port = fleet(launch, redis_server)
    assert len(set(pids(child))) == 2
    names = {ready(port)["worker"] for _ in range(60)}
    assert len(names) == 2
    first = pids(child)[0]
    signal_process(first, signal.SIGKILL)
    child.wait_until(lambda: len(pids(child)) == 3, PATIENCE)
    assert ready(port)["status"] == "ready"
    assert not alive(first)
    child.process.terminate()
    assert ended(child)[0] == 0


def test_when_the_parent_is_killed_the_workers_leave(launch: Launch, redis_server: RedisServer) -> None:
    child, port = fleet(launch, redis_server)
    workers = pids(child)
    child.kill()
    wait_until_gone(workers)
    assert not answers(port, "/readyz")


def test_a_wrong_setting_ends_all_workers_and_is_said_once(
    launch: Launch, start_private_redis: Callable[..., RedisServer]
) -> None:
    port, key = free_port(), secrets.token_urlsafe(32)
    refusing = start_private_redis(options=["--requirepass", "right"]).url  # which a worker finds out, not the parent
    code, log = ended(launch("serve", "--port", str(port), "--workers", "3", REDIS_URL=refusing, SECRET_KEY=key))
    assert code == 2
    assert log.count("switchboard: REDIS_URL") == 1


def signal_process(pid: int, number: signal.Signals) -> None:

    os.kill(pid, number)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pids: list[int]) -> None:

    deadline = time.monotonic() + PATIENCE
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
