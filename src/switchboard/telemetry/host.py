"""The numbers of all worker processes of a host, those that have ended too, in files of one folder.

Each process writes its own file, whole, and holds a lock as long as it lives, so that nobody has to be told how it
ended. What ended is added, once, to the file of all that ended; its gauges are not. A process that is killed loses what
it counted within `EVERY_S`: nothing was told of that yet, so no number ever goes back.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from switchboard.aio import background
from switchboard.telemetry.metrics import TABLE, Snapshot

log = structlog.get_logger(__name__)

EVERY_S: Final = 0.5
"""How often a process writes what has changed."""

_ENDED: Final = "ended.json"
_LOCK: Final = "lock"


class OneProcess:
    """The only worker process: there is nothing to add."""

    def __init__(self, own: Callable[[], Snapshot]) -> None:
        self._own = own

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Nothing runs."""
        yield

    async def together(self) -> Snapshot:
        """The numbers now."""
        return self._own()


class Host:
    """One of the worker processes that share `folder`.

    Args:
        own: gives the numbers of this process.
    """

    def __init__(self, folder: Path, own: Callable[[], Snapshot]) -> None:
        self._folder = folder
        self._own = own
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._written: Snapshot = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be one of them for as long as the context is open.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._folder / f"{self._name}.alive"):
            self._write()
            async with background(self._keep_written()):
                yield
            self._try_to_write()

    async def together(self) -> Snapshot:
        """The numbers of all, now for this process, and as they were `EVERY_S` ago at most for others."""
        self._write()
        return await asyncio.to_thread(self._added_up)

    async def _keep_written(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._try_to_write()

    def _try_to_write(self) -> None:
        """Write; a full disk is no reason to serve nobody."""
        try:
            self._write()
        except OSError as error:
            log.warning("metrics.write_failed", reason=str(error))

    def _write(self) -> None:
        own = self._own()
        if own != self._written:
            _replace(self._folder / f"{self._name}.json", {"values": _encoded(own)})
            self._written = own

    def _added_up(self) -> Snapshot:
        with _locked(self._folder / _LOCK):
            ended = _read(self._folder / _ENDED)
            kept, names = _decoded(ended), set(ended.get("names", ()))
            living: Snapshot = {}
            gone: list[Path] = []
            for path in sorted(self._folder.glob("*.json")):
                if path.name == _ENDED:
                    continue
                if _is_held(path.with_suffix(".alive")):
                    add(living, _decoded(_read(path)))
                    continue
                gone.append(path)
                if path.stem not in names:  # else whoever added it was stopped before it could take the file away
                    add(kept, _lasting(_decoded(_read(path))))
            if gone:
                _replace(self._folder / _ENDED, {"names": [path.stem for path in gone], "values": _encoded(kept)})
                for path in gone:
                    path.unlink()
                    path.with_suffix(".alive").unlink(missing_ok=True)
        add(living, kept)
        return living


def add(to: Snapshot, more: Snapshot) -> None:
    """Add numbers to others; buckets one by one."""
    for name, values in more.items():
        into = to.setdefault(name, {})
        for labels, value in values.items():
            before = into.get(labels)
            into[labels] = list(value) if before is None else [a + b for a, b in zip(before, value, strict=True)]


def _lasting(values: Snapshot) -> Snapshot:
    return {name: by for name, by in values.items() if TABLE[name].kind != "gauge"}


def _encoded(values: Snapshot) -> dict[str, Any]:
    return {name: [[*map(list, each)] for each in by.items()] for name, by in values.items()}


def _decoded(document: dict[str, Any]) -> Snapshot:
    """Of metrics that this version has, as it has them: a folder may outlive a version."""
    return {
        name: {tuple(labels): value for labels, value in rows if len(value) == TABLE[name].width}
        for name, rows in document.get("values", {}).items()
        if name in TABLE
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _replace(path: Path, document: dict[str, Any]) -> None:
    """Whoever reads meanwhile reads the one or the other, whole."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that this file stands for; the system takes it back from a process that ends."""
    with path.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
