"""The port, bound once and before anything costly: a taken port is one clear line, and workers share the socket."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from switchboard.errors import ConfigurationError

_ADVICE = {
    errno.EADDRINUSE: "PORT={port} is taken on {host}: stop what listens there, or choose another with --port",
    errno.EADDRNOTAVAIL: "HOST={host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for all",
    errno.EACCES: "PORT={port} needs more rights than this user has: choose 1024 or above",
}


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for every address that `host` names (`localhost` has two), bound and not yet listening.

    Raises:
        ConfigurationError: the port is taken, or the address is not ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST={host} is not an address or a known name ({error.strerror})") from None
    with ExitStack() as opened:
        addresses = dict.fromkeys((family, str(at[0])) for family, _, _, _, at in found)
        sockets = [opened.enter_context(_bound(family, address, port)) for family, address in addresses]
        opened.pop_all()
    return sockets


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise explained(error, address, port) from None
    return listener


def explained(error: OSError, host: str, port: int) -> ConfigurationError:
    """What a failed bind or listen means for the person who started it."""
    advice = _ADVICE.get(error.errno or 0, "cannot listen on HOST={host} PORT={port}: {reason}")
    return ConfigurationError(advice.format(host=host, port=port, reason=error.strerror))
