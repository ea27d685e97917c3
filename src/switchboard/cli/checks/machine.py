"""What this machine has for a server: files that may be open, who may read secrets, the port, the clock, the names."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from switchboard.common.hosts import HostPatterns, OriginPatterns
from switchboard.settings import Settings

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One line of what `switchboard doctor` found."""

    check: str
    verdict: Verdict
    said: str
    """With what to do, unless it is ok."""


FEW_FILES: Final = 4096
"""Open files, below which a worker runs out with some thousand streams."""
SKEW_S: Final = 5.0
"""Seconds between this clock and Redis' from which tokens are refused, or are good for too long."""


def open_files() -> Iterator[Finding]:
    """Whether a worker may have enough connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        said = f"a process may open {soft} files, and each stream and child needs some"
        yield Finding("open files", "warning", f"{said}: raise `ulimit -n` (up to {hard}), or LimitNOFILE= of the unit")
    else:
        yield Finding("open files", "ok", f"a process may open {soft}")


def private(files: Iterable[Path]) -> Iterator[Finding]:
    """Whether others may read or change files that hold secrets."""
    for file in files:
        if not file.is_file():
            continue
        mode = file.stat().st_mode & 0o777
        if mode & 0o022:
            yield Finding("files", "failed", f"others may change {file} (mode {mode:o}): `chmod 600 {file}`")
        elif mode & 0o004:
            yield Finding("files", "warning", f"everybody here may read {file} (mode {mode:o}): `chmod 600 {file}`")


def port(settings: Settings, served_by_us: bool) -> Iterator[Finding]:
    """Whether another program has the port.

    Args:
        served_by_us: whether a worker of this machine answers for it.
    """
    if served_by_us:
        return
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host  # noqa: S104
    try:
        with socket.create_connection((host, settings.port), timeout=1):
            said = f"{host}:{settings.port} is in use by another program: end that, or set PORT"
            yield Finding("port", "warning", f"{said} (unless it is a worker of another user or container)")
    except OSError:
        yield Finding("port", "ok", f"{settings.port} is free")


def clock(redis_time: float) -> Iterator[Finding]:
    """Whether this clock goes as Redis' does."""
    skew = time.time() - redis_time
    if abs(skew) > SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        said = f"this machine's clock is {abs(skew):.0f} s {way} Redis': tokens are judged wrongly"
        yield Finding("clock", "failed", f"{said}; have both synchronize (`timedatectl set-ntp true`)")
    else:
        yield Finding("clock", "ok", "as Redis'")


def names(settings: Settings) -> Iterator[Finding]:
    """Whether what is allowed has the server's own address in it."""
    parts = urlsplit(settings.base_uri)
    if settings.allowed_hosts and parts.netloc not in HostPatterns(settings.allowed_hosts):
        said = f"ALLOWED_HOSTS does not have {parts.netloc}, the host of BASE_URI: every request is refused"
        yield Finding("hosts", "failed", f"{said}; add it, or leave ALLOWED_HOSTS empty")
    own = f"{parts.scheme}://{parts.netloc}"
    if settings.allowed_origins and own not in OriginPatterns(settings.allowed_origins):
        said = f"ALLOWED_ORIGINS does not have {own}: this server's own pages and console are refused"
        yield Finding("origins", "failed", f"{said}; add it, or leave ALLOWED_ORIGINS empty")
