"""What the process of a plugin may do, taken away from it by itself before it reads the plugin's code; for good.

Resource limits hold everywhere. On Linux it also gives up all capabilities, cannot be traced, and is confined by
Landlock (https://docs.kernel.org/userspace-api/landlock.html): to the files that it is given, away from the ports that
it is not, and from the processes outside. What Landlock of this kernel cannot do is told, not passed over.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The numbers of these system calls, the same on all architectures."""

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
_CAPABILITIES: Final = 64
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_FS_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that each version of Landlock knows."""
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
"""Those that mean something for a file."""

_NET_SINCE, _CONNECT_TCP = 4, 1 << 1
_SCOPES_SINCE, _SCOPES = 6, 0b11
"""Abstract Unix sockets, and signals."""

_RULE_PATH, _RULE_PORT = 1, 2

_SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts",
    "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime", "/etc/mime.types",
    "/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
"""What programs read of a system, and no secret is kept in."""


@dataclass(frozen=True)
class Confinement:
    """What a process is left with."""

    readable: tuple[str, ...]
    """Files and folders."""

    writable: tuple[str, ...]
    """Folders."""

    closed_ports: tuple[int, ...]
    """TCP ports that it must not connect to, on any host."""

    memory_mb: int
    cpu_seconds: int
    open_files: int


def confine(confinement: Confinement) -> tuple[str, ...]:
    """Confine this process; what could not be done here, a line each. To be called while it has one thread."""
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, confinement.memory_mb << 20),
        (resource.RLIMIT_CPU, confinement.cpu_seconds),
        (resource.RLIMIT_NOFILE, confinement.open_files),
    ):
        _limit(kind, most)
    if sys.platform != "linux":
        return ("only Linux keeps it from the files and processes of this user",)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    lacking = tuple(_landlocked(libc, confinement))
    _drop_capabilities(libc)
    return lacking


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (bound, bound))


def python_paths() -> Iterator[str]:
    """Where the Python that runs this has its library and its installed packages."""
    yield from dict.fromkeys([sys.prefix, sys.base_prefix, sys.exec_prefix])
    yield str(Path(__file__).parents[2])


def _landlocked(libc: Any, confinement: Confinement) -> Iterator[str]:
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        yield "this kernel has no Landlock: it can read the files, and end the processes, of this user"
        return
    rights = _FS_RIGHTS[min(version, max(_FS_RIGHTS))]
    ports = _CONNECT_TCP if version >= _NET_SINCE and confinement.closed_ports else 0
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", rights, ports, scopes)[: 8 if version < _NET_SINCE else 16 if not scopes else 24]
    rules = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        read = _EXECUTE | _READ_FILE | _READ_DIR
        _allow(libc, rules, (*_SYSTEM, *python_paths(), *confinement.readable), read)
        _allow(libc, rules, ("/dev/null",), _READ_FILE | _WRITE_FILE)
        _allow(libc, rules, confinement.writable, rights & ~_EXECUTE)
        if ports:
            for port in set(range(1, 65_536)) - set(confinement.closed_ports):
                libc.syscall(_ADD_RULE, rules, _RULE_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)
        if libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(rules)
    if not ports and confinement.closed_ports:
        yield "Landlock of this kernel knows no ports: it can connect to Redis, if that asks for no password"
    if not scopes:
        yield "Landlock of this kernel knows no signals: it can end the processes of this user"


def _allow(libc: Any, rules: int, paths: Iterable[str], rights: int) -> None:
    for path in dict.fromkeys(paths):
        with suppress(OSError):  # not there, so there is nothing to allow
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                fit = rights if os.path.isdir(path) else rights & _FILE_RIGHTS
                libc.syscall(_ADD_RULE, rules, _RULE_PATH, struct.pack("=Qi", fit, descriptor), 0)
            finally:
                os.close(descriptor)


def _drop_capabilities(libc: Any) -> None:
    """Keep no capability, also as root, and never get one again."""
    for each in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6)
    if (call := _CAPSET.get(os.uname().machine)) is not None:
        libc.syscall(call, header, none)
