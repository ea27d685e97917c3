"""The cache folder: one folder for each thing installed, with a note of what exactly it is.

The note is written last. So a folder with a note is whole and is used as it is, without the network; one without is
what an interrupted install left, and is made anew. A lock per folder lets many workers start at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switchboard.common.private_files import open_private
from switchboard.sources.launch import SourceFailure

NOTE: Final = "installed.json"
LOCK_LOOK_S: Final = 0.1
LOCK_PATIENCE_S: Final = 1000.0

Facts = Mapping[str, str]
"""What is known of a thing once it is installed."""

Install = Callable[[Path], Awaitable[Facts]]
"""Fills a new, empty folder."""


@dataclass(frozen=True)
class Shelved:
    """A thing in the cache."""

    folder: Path
    facts: Facts
    fresh: bool
    """Whether it was installed just now."""


async def installed(cache: Path, kind: str, wanted: Mapping[str, str], install: Install) -> Shelved:
    """What is wanted, from the cache or installed now.

    Raises:
        SourceFailure: what `install` says, or the cache cannot be written.
    """
    folder = place(cache, kind, wanted)
    try:
        await asyncio.to_thread(folder.parent.mkdir, parents=True, exist_ok=True)
        async with _locked(folder.with_name(f"{folder.name}.lock")):
            await asyncio.to_thread(_check_owner, folder)
            facts = await asyncio.to_thread(_noted, folder, wanted)
            if facts is not None:
                return Shelved(folder, facts, fresh=False)
            await asyncio.to_thread(_emptied, folder)
            facts = await install(folder)
            await asyncio.to_thread(_note, folder, wanted, facts)
            return Shelved(folder, facts, fresh=True)
    except OSError as error:
        raise SourceFailure(f"the cache folder {cache} cannot be used: {error}") from error


def place(cache: Path, kind: str, wanted: Mapping[str, str]) -> Path:
    """Where it stands: a name that people recognize, and a digest of all that is wanted."""
    text = json.dumps(wanted, sort_keys=True)
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", next(iter(wanted.values()), ""))[-40:].strip("-.")
    return cache / kind / f"{readable or kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def forget(cache: Path, kind: str, wanted: Mapping[str, str]) -> None:
    """Have it installed anew the next time."""
    (place(cache, kind, wanted) / NOTE).unlink(missing_ok=True)


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    descriptor = open_private(path, os.O_CREAT | os.O_RDWR)
    try:
        await _wait_for(descriptor, path)
        yield
    finally:
        os.close(descriptor)


async def _wait_for(descriptor: int, path: Path) -> None:
    """Look again and again: a thread that waits in the kernel could not be cancelled."""
    for _ in range(int(LOCK_PATIENCE_S / LOCK_LOOK_S)):
        if _taken(descriptor):
            return
        await asyncio.sleep(LOCK_LOOK_S)
    raise SourceFailure(f"another process has been installing for {LOCK_PATIENCE_S:g} s: {path}")


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_owner(folder: Path) -> None:
    """See that nobody but us or root could have put there what will be started.

    Raises:
        PermissionError: somebody else could.
    """
    for place in (folder.parent, folder):
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{place} is not a folder (a link to one is not followed)")
        if found.st_uid not in (0, os.getuid()) or stat.S_IMODE(found.st_mode) & 0o002:
            raise PermissionError(f"{place} can be written by other users, and what is in it would be started")


def _noted(folder: Path, wanted: Mapping[str, str]) -> Facts | None:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(note, dict) and note.get("wanted") == dict(wanted) and isinstance(note.get("facts"), dict)
    return {str(key): str(value) for key, value in note["facts"].items()} if whole else None


def _emptied(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


def _note(folder: Path, wanted: Mapping[str, str], facts: Facts) -> None:
    beside = folder / f"{NOTE}.new"
    beside.write_text(json.dumps({"wanted": dict(wanted), "facts": dict(facts)}, indent=1), encoding="utf-8")
    beside.rename(folder / NOTE)
