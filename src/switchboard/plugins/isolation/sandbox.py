"""What the process of a plugin may do, taken away from it by itself before it reads the plugin's code; for good.

Resource limits hold everywhere. On Linux it also gives up all capabilities, cannot be traced, and is confined by
Landlock (https://docs.kernel.org/userspace-api/landlock.html): to the files that it is given, away from the ports that
it is not, and from the processes outside. A filter of system calls leaves it the sockets that Landlock knows about:
of TCP and UDP. What this kernel cannot do is told, not passed over.
"""

from __future__ import annotations

import ctypes
import errno
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

_PR_SET_SECCOMP, _SECCOMP_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
_CAPABILITIES: Final = 64
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}

_CALLS: Final = {"x86_64": (0xC000003E, 41, 44, 46, 307), "aarch64": (0xC00000B7, 198, 206, 211, 269)}
"""What the kernel calls an architecture (AUDIT_ARCH), and there the numbers of socket, sendto, sendmsg and sendmmsg."""
_IO_URING_SETUP: Final = 425
_X32: Final = 0x40000000
"""From here on x86-64 counts the system calls of its x32 programs."""

_LOAD, _IF_EQUAL, _IF_NOT_LESS, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL, _MACHINE, _ARGUMENTS = 0, 4, range(16, 64, 8)
"""Where a filter finds the number of a call, the architecture, and the lower half of each argument."""
_AF_INET, _AF_INET6, _AF_NETLINK, _TCP, _UDP, _MSG_FASTOPEN = 2, 10, 16, 6, 17, 0x20000000

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
    lacking = (*_landlocked(libc, confinement), *_without_other_sockets(libc))
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


def _without_other_sockets(libc: Any) -> Iterator[str]:
    """Refuse what would get around Landlock to Redis or a worker: MPTCP, TCP Fast Open, Unix sockets, io_uring.

    https://docs.kernel.org/userspace-api/seccomp_filter.html
    """
    calls = _CALLS.get(os.uname().machine)
    rules = b"" if calls is None else b"".join(_instructions(*calls))
    if rules:
        kept = ctypes.create_string_buffer(rules)
        program = struct.pack("@HP", len(rules) // 8, ctypes.addressof(kept))
        if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, program, 0, 0) == 0:
            return
    yield "this kernel does not filter system calls: by MPTCP or a Unix socket it can connect to Redis and to workers"


def _instructions(machine: int, socket: int, sendto: int, sendmsg: int, sendmmsg: int) -> Iterator[bytes]:
    """The filter: a call that it does not know, or with arguments that do no harm, is allowed."""
    allowed, refused = 21, 22
    rules = (  # what to do, a number, and where to go on if it holds, and if not
        (_LOAD, _MACHINE, 0, 0),
        (_IF_EQUAL, machine, 2, refused),
        (_LOAD, _CALL, 0, 0),
        (_IF_NOT_LESS, _X32, refused, 4),
        (_IF_EQUAL, _IO_URING_SETUP, refused, 5),
        (_IF_EQUAL, socket, 13, 6),
        (_IF_EQUAL, sendto, 11, 7),
        (_IF_EQUAL, sendmmsg, 11, 8),
        (_IF_EQUAL, sendmsg, 9, allowed),
        (_LOAD, _ARGUMENTS[2], 0, 0),
        (_IF_ANY_BIT, _MSG_FASTOPEN, refused, allowed),
        (_LOAD, _ARGUMENTS[3], 0, 0),
        (_IF_ANY_BIT, _MSG_FASTOPEN, refused, allowed),
        (_LOAD, _ARGUMENTS[0], 0, 0),
        (_IF_EQUAL, _AF_NETLINK, allowed, 15),  # the C library asks which addresses there are
        (_IF_EQUAL, _AF_INET, 17, 16),
        (_IF_EQUAL, _AF_INET6, 17, refused),
        (_LOAD, _ARGUMENTS[2], 0, 0),
        (_IF_EQUAL, 0, allowed, 19),
        (_IF_EQUAL, _TCP, allowed, 20),
        (_IF_EQUAL, _UDP, allowed, refused),
        (_RETURN, 0x7FFF0000, 0, 0),
        (_RETURN, 0x00050000 | errno.EACCES, 0, 0),
    )
    for place, (code, number, holds, not_) in enumerate(rules):
        yield struct.pack("=HBBI", code, max(0, holds - place - 1), max(0, not_ - place - 1), number)


def _drop_capabilities(libc: Any) -> None:
    """Keep no capability, also as root, and never get one again."""
    for each in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6)
    if (call := _CAPSET.get(os.uname().machine)) is not None:
        libc.syscall(call, header, none)
