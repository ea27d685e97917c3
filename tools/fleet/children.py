"""Child processes: started with a log file, waited for, stopped, killed."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
PAUSE = 0.05
"""Seconds between two looks at something that is not ready yet."""


class NotReady(RuntimeError):
    """A child ended, or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True)
class Child:
    """One process of the fleet."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id, as the system knows it."""
        return self.process.pid

    def kill(self) -> None:
        """End it the way a crash does: SIGKILL, nothing is cleaned up."""
        self.process.kill()
        self.process.wait(timeout=300)

    def freeze(self) -> None:
        """Stop the process where it stands, as a long pause of the machine would."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout: float = 60) -> int:
        """Ask it to leave (SIGTERM), insist after `timeout` seconds, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def tail(self, lines: int = 25) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready()` holds; raise NotReady when the process ends or the time is over first."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended with code {self.process.returncode}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready within {timeout:g} s\n{self.tail()}")
            time.sleep(PAUSE)


def start(
    name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, *, cwd: Path | None = None
) -> Child:
    """Start `command` in `folder`, or in `cwd`; its output goes to `folder/NAME.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=cwd or folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    return Child(name, process, log)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def answers(port: int, path: str) -> bool:
    """Whether an HTTP GET of the path gives 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
