"""Documents of the vault as files in a folder of this machine, for this user alone. Satisfies `Documents`.

Workers on one machine may share it. A file is replaced as a whole: written beside, brought to the disk, and renamed.
Writers take turns by a lock on a file of the folder (flock). A file or folder that others may read is not read.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from switchboard.common.private_files import check_private_folder, make_private_folder
from switchboard.errors import ConfigurationError, VaultUnavailable

SUFFIX: Final = ".json"
LARGEST: Final = 65_536

T = TypeVar("T")


class FileDocuments:
    """The files of one folder.

    Raises:
        ConfigurationError: the folder cannot be used; the message says what to do.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            make_private_folder(folder)
        except OSError as error:
            raise ConfigurationError(f"VAULT: {error}") from error

    async def get(self, name: str) -> tuple[str, str] | None:
        """See `Documents`."""
        return await self._run(lambda: self._get(name))

    async def set(self, name: str, text: str, expected: str | None) -> bool:
        """See `Documents`."""
        return await self._run(lambda: self._set(name, text, expected))

    async def remove(self, name: str) -> None:
        """See `Documents`."""
        await self._run(lambda: self._remove(name))

    async def names(self, prefix: str) -> list[str]:
        """See `Documents`."""
        return await self._run(lambda: self._names(prefix))

    async def _run(self, work: Callable[[], T]) -> T:
        """On a thread: a disk may be slow, and another worker may have the lock."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise VaultUnavailable(f"VAULT: {error}") from error

    def _get(self, name: str) -> tuple[str, str] | None:
        try:
            descriptor = _open_private(self._file(name), os.O_RDONLY)
        except FileNotFoundError:
            check_private_folder(self._folder)
            return None
        with os.fdopen(descriptor, encoding="utf-8") as file:
            text = file.read(LARGEST)
        return text, hashlib.sha256(text.encode()).hexdigest()

    def _set(self, name: str, text: str, expected: str | None) -> bool:
        with self._locked():
            found = self._get(name)
            if (found[1] if found else None) != expected:
                return False
            beside = self._folder / ".new"
            beside.unlink(missing_ok=True)
            with os.fdopen(_open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._file(name))
            self._to_disk()
            return True

    def _remove(self, name: str) -> None:
        with self._locked():
            self._file(name).unlink(missing_ok=True)
            self._to_disk()

    def _names(self, prefix: str) -> list[str]:
        check_private_folder(self._folder)
        return sorted(file.name.removesuffix(SUFFIX) for file in self._folder.glob(f"{prefix}*{SUFFIX}"))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        check_private_folder(self._folder)
        descriptor = _open_private(self._folder / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _to_disk(self) -> None:
        """Have the names in the folder survive a loss of power, too."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open_private(file: Path, flags: int) -> int:
    """Open a file that only this user may read and write; with `O_CREAT` it is made so.

    Raises:
        PermissionError: it is somebody else's, or open to others; the message says what to do.
        OSError: it cannot be opened, or is a symbolic link.
    """
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    problem = (
        f"{file} is not a file of this user: remove it"
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid()
        else f"{file} is open to other users: what is in it may be known; close it with: chmod 600 {file}"
        if stat.S_IMODE(found.st_mode) & 0o077
        else ""
    )
    if problem:
        os.close(descriptor)
        raise PermissionError(problem)
    return descriptor
