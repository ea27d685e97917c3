"""The file that the tokens for one server are kept in: for its owner alone, and for one process at a time to change."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from switchboard.common.private_files import make_private_folder, open_private
from switchboard.errors import SwitchboardError

LOCK_POLL_S: Final = 0.1


class TokenFileError(SwitchboardError):
    """The file cannot be read or written; the message says which and why."""


def default_folder() -> Path:
    """Where tokens are kept unless told otherwise."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "switchboard" / "connect"


class TokenFile:
    """One server's."""

    def __init__(self, folder: Path, server: str) -> None:
        self.file = folder / f"{hashlib.sha256(server.encode()).hexdigest()[:24]}.json"
        self._server = server

    def read(self) -> dict[str, Any]:
        """What is in it; empty if there is none, or if it is not what was put there.

        Raises:
            TokenFileError: it may not be read.
        """
        try:
            with os.fdopen(open_private(self.file, os.O_RDONLY), encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}
        except OSError as error:
            raise TokenFileError(f"the tokens in {self.file} cannot be read: {_reason(error)}") from error
        return found if isinstance(found, dict) and found.get("server") == self._server else {}

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace it, whole or not at all.

        Raises:
            TokenFileError: it may not be written.
        """
        try:
            make_private_folder(self.file.parent)
            descriptor, fresh = tempfile.mkstemp(prefix=f"{self.file.stem}.", dir=self.file.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump({"server": self._server, **content}, file, indent=2)
                os.replace(fresh, self.file)
            except BaseException:
                os.unlink(fresh)
                raise
        except OSError as error:
            raise TokenFileError(f"tokens cannot be kept in {self.file}: {_reason(error)}") from error

    def forget(self) -> bool:
        """Remove it; whether there was one.

        Raises:
            TokenFileError: it may not be removed.
        """
        try:
            self.file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TokenFileError(f"{self.file} cannot be removed: {_reason(error)}") from error
        return True

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """While entered, no other process signs in or refreshes: a refresh token may be used once.

        Raises:
            TokenFileError: the folder or its lock cannot be had.
        """
        try:
            make_private_folder(self.file.parent)
            descriptor = open_private(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise TokenFileError(f"tokens cannot be kept in {self.file.parent}: {_reason(error)}") from error
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 (a file's lock has no event)
                await anyio.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
