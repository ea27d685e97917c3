"""The file that the tokens for one server are kept in: for its owner alone, and for one process at a time to change."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from switchboard.errors import SwitchboardError

LOOK_S: Final = 0.1


class PurseTrouble(SwitchboardError):
    """The file cannot be read or written; the message says which and why."""


def default_folder() -> Path:
    """Where tokens are kept unless told otherwise."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "switchboard" / "connect"


class Purse:
    """One server's."""

    def __init__(self, folder: Path, server: str) -> None:
        self.file = folder / f"{hashlib.sha256(server.encode()).hexdigest()[:24]}.json"
        self._server = server

    def read(self) -> dict[str, Any]:
        """What is in it; empty if there is none, or if it is not what was put there.

        Raises:
            PurseTrouble: it may not be read.
        """
        try:
            found = json.loads(self.file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}
        except OSError as error:
            raise PurseTrouble(f"the tokens in {self.file} cannot be read: {error.strerror}") from error
        return found if isinstance(found, dict) and found.get("server") == self._server else {}

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace it, whole or not at all.

        Raises:
            PurseTrouble: it may not be written.
        """
        fresh = self.file.with_suffix(f".{os.getpid()}")
        try:
            self._folder()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                os.fchmod(file.fileno(), 0o600)  # also if a file of this name was left by another
                json.dump({"server": self._server, **content}, file, indent=2)
            fresh.replace(self.file)
        except OSError as error:
            raise PurseTrouble(f"tokens cannot be kept in {self.file}: {error.strerror}") from error

    def forget(self) -> bool:
        """Remove it; whether there was one."""
        there = self.file.exists()
        self.file.unlink(missing_ok=True)
        return there

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While entered, no other process signs in or refreshes: a refresh token may be used once."""
        self._folder()
        descriptor = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(descriptor):  # noqa: ASYNC110 (a file's lock has no event)
                await anyio.sleep(LOOK_S)
            yield
        finally:
            os.close(descriptor)

    def _folder(self) -> None:
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PurseTrouble(f"tokens cannot be kept in {self.file.parent}: {error.strerror}") from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
