"""A worker as a process of its own: `python -m switchboard.cli.processes.worker`, started by the parent in `fleet`.

A fresh interpreter, so nothing is inherited from the parent but the listening sockets: no ids, no connections. When the
parent is gone, even by SIGKILL, the worker stops too.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading

from starlette.types import ASGIApp

from switchboard.cli.exit_codes import exit_code, say
from switchboard.cli.processes.serving import build_application, run_worker
from switchboard.common.process import shut, take_over
from switchboard.errors import SwitchboardError
from switchboard.settings import load_settings


def reloaded() -> ASGIApp:
    """The application for `serve --reload`: uvicorn imports this anew after every change."""
    shut()
    try:
        return build_application(load_settings())
    except SwitchboardError as error:
        say(str(error))
        raise SystemExit(exit_code(error)) from None


def main() -> None:
    """Serve on inherited sockets, and tell the parent once it works."""
    parser = argparse.ArgumentParser(prog="python -m switchboard.cli.processes.worker")
    parser.add_argument("--sockets", required=True, help="descriptors of the bound sockets, comma-separated")
    parser.add_argument("--ready", type=int, required=True, help="descriptor to write to once requests are served")
    parser.add_argument("--parent", type=int, required=True, help="descriptor that ends when the parent does")
    parser.add_argument("--environment", type=int, required=True, help="descriptor to take the environment from")
    given = parser.parse_args()
    take_over(given.environment)
    sockets = [socket.socket(fileno=int(descriptor)) for descriptor in given.sockets.split(",")]
    threading.Thread(target=_follow_parent, args=(given.parent,), daemon=True).start()

    def started() -> None:
        os.write(given.ready, b"1")
        os.close(given.ready)

    try:
        sys.exit(run_worker(load_settings(), sockets, started))
    except SwitchboardError as error:
        say(str(error))
        sys.exit(exit_code(error))


def _follow_parent(descriptor: int) -> None:
    """Wait for the end of a pipe that only the parent holds open."""
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
