"""`python -m tools.fleet run`: workers on one Redis; `separate` instead: authorization server and MCP server apart."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from dotenv import dotenv_values

from tools.fleet.children import LOOPBACK
from tools.fleet.workers import running_fleet, start_auth_server, start_worker

SEPARATE = Path(__file__).parents[2] / ".env.separate"


def main() -> None:
    """Start what was asked for, say where it is, and stop it on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.fleet", description=__doc__)
    parser.add_argument("what", choices=["run", "separate"])
    parser.add_argument("--workers", type=int, default=2, help="how many workers to run")
    parser.add_argument("--port", type=int, default=3232, help="where clients connect")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder, ExitStack() as stack:
        if chosen.what == "run":
            _run_fleet(stack, Path(folder), chosen.workers, chosen.port)
        else:
            _run_separate(stack, Path(folder), chosen.port)
        print(f"  logs            {folder}\n  Ctrl-C ends it", flush=True)
        _until_told_to_stop()


def _run_fleet(stack: ExitStack, folder: Path, workers: int, port: int) -> None:
    fleet = stack.enter_context(running_fleet(folder, workers=workers, port=port))
    print(f"  clients         {fleet.url}   ({fleet.balancer.what}, strictly in turn, no stickiness)")
    for worker, child in zip(fleet.ports, fleet.workers, strict=True):
        print(
            f"  worker          http://{LOOPBACK}:{worker}/mcp   (pid {child.pid}: kill -9 it and watch nothing happen)"
        )
    print(f"  redis           {fleet.redis.url}   ({fleet.redis.what})")


def _run_separate(stack: ExitStack, folder: Path, port: int) -> None:
    written = {name: value for name, value in dotenv_values(SEPARATE).items() if value}
    settings = written | {"PORT": str(port), "BASE_URI": f"http://localhost:{port}"}
    auth = start_auth_server(folder, int(settings["AUTH_SERVER_PORT"]), settings)
    stack.callback(auth.stop)
    server = start_worker(folder, port, settings)
    stack.callback(server.stop)
    print(f"  clients         {settings['BASE_URI']}/mcp")
    print(f"  authorization   {settings['AUTH_SERVER_URL']}   (a process of its own)")


def _until_told_to_stop() -> None:
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()


if __name__ == "__main__":
    main()
