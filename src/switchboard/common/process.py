"""Keeping what a process knows from other processes of the same user: from the servers that it starts, above all.

A leaf. Linux shows a process's first environment in `/proc/PID/environ`, whatever `os.environ` says since, and its
memory and open files to whoever may trace it. `shut` empties the one and forbids the other; a process that we start
gets its environment by `hand_over` once it has done the same. Elsewhere than on Linux they only pass it on.

It does not stop the superuser from reading memory: whoever runs as root gives that to the servers that it starts.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html"""

_STAT: Final = Path("/proc/self/stat")
_ENV_START, _ENV_END = 47, 48
"""Fields 50 and 51 of it, counted after the name. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""

_BARE: Final = re.compile(
    r"FORCE_COLOR|HOME|LANG|LC_[A-Z]+|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_[A-Z_]+|LOGNAME|MALLOC_[A-Z_]+|NO_COLOR|PATH|"
    r"PYTHON[A-Z]+|TERM|TMPDIR|TZ|USER|VIRTUAL_ENV|COVERAGE_PROCESS_[A-Z]+|COV_CORE_[A-Z]+"
)


def shut() -> None:
    """Let no other process of this user read this one's environment, memory and files, nor trace it.

    The variables stay where programs look for them. There are no core files of this process from now on, and a debugger
    needs the superuser's rights.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        _empty_first_environment()
    except (OSError, AttributeError, ValueError, IndexError):  # no /proc, or another C library: nothing to be done
        return


def _empty_first_environment() -> None:
    fields = _STAT.read_text().rpartition(")")[2].split()
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    if not 0 < start < end:
        return
    for name, value in os.environb.items():
        os.putenv(name, value)  # the C library copies it elsewhere
    ctypes.memset(start, 0, end - start)


def bare(environ: Mapping[str, str]) -> dict[str, str]:
    """What Python needs to start, of which nothing is secret."""
    return {key: value for key, value in environ.items() if _BARE.fullmatch(key)}


async def hand_over(to: socket.socket, environ: Mapping[str, str]) -> None:
    """Give a process that was started with a bare environment all of it, once it is shut.

    A socket, for what is in a pipe can be read through `/proc`. A process that ends before it asks gets nothing.
    """
    loop = asyncio.get_running_loop()
    to.setblocking(False)
    with to:
        try:
            if await loop.sock_recv(to, 1):
                await loop.sock_sendall(to, json.dumps(dict(environ)).encode())
        except OSError:
            return


def take_over(descriptor: int) -> None:
    """The other end: shut this process, and take its environment."""
    shut()
    with socket.socket(fileno=descriptor) as given:
        given.sendall(b"1")
        received = b"".join(iter(lambda: given.recv(65_536), b""))
    os.environ.update(json.loads(received or b"{}"))
