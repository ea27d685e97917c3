"""`python -m fleet run`: workers on one Redis. `python -m fleet separate`: authorization server and server apart."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from fleet.children import LOOPBACK
from fleet.workers import running_fleet, start_auth_server, start_worker

AUTH_PORT = 3001


def main() -> None:
    """Start what was asked for, say where it is, and stop it on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m fleet", description=__doc__)
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
    issuer = f"http://localhost:{AUTH_PORT}"
    auth = start_auth_server(folder, AUTH_PORT, {})
    stack.callback(auth.stop)
    settings = {"BASE_URI": f"http://localhost:{port}", "AUTH_MODE": "separate", "AUTH_SERVER_URL": issuer}
    server = start_worker(folder, port, settings)
    stack.callback(server.stop)
    print(f"  clients         http://localhost:{port}/mcp")
    print(f"  authorization   {issuer}   (a process of its own)")


def _until_told_to_stop() -> None:
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()


if __name__ == "__main__":
    main()
