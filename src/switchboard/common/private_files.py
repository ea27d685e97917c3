"""Files and folders for this user alone, in places where another user may have put something first. A leaf.

Nothing is opened through a symbolic link, and nothing that somebody else owns is used.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make the folder, or see that it is ours alone.

    Raises:
        OSError: it cannot be made, or `check_private_folder` refuses it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private_folder(folder)


def check_private_folder(folder: Path) -> None:
    """See that it is a folder of this user, closed to others.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: it is not; the message says what to do.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a folder (a link to one is not followed); remove it")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; use another folder")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is open to other users; close it with: chmod 700 {folder}")


def open_private(file: Path, flags: int) -> int:
    """Open a file that only this user may read and write; with `O_CREAT` it is made so. The descriptor.

    Raises:
        PermissionError: it is a symbolic link, no regular file, or another user's; the message says so.
        OSError: it cannot be opened.
    """
    if file.is_symlink():
        raise PermissionError(f"{file} is a symbolic link, which is not followed; remove it")
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{file} is not a file of this user; remove it")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
