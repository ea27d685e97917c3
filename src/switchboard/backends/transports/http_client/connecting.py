"""Sockets to a server, with TLS where its URL says so. Of several addresses the first that answers is taken."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.staggered import staggered_race
from collections.abc import Callable
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar

import httpx2

HEAD_START_S: Final = 0.25
"""Of one address before the next is tried beside it (RFC 8305 §5)."""

NOBODY: Final = "All connection attempts failed"

Protocol = TypeVar("Protocol", bound=asyncio.Protocol)


async def connected(
    make: Callable[[], Protocol], host: str, port: int, tls: ssl.SSLContext | None, within_s: float | None
) -> Protocol:
    """A connection, which `make` makes the protocol of.

    Raises:
        httpx2.ConnectError: there is none; nothing was sent.
        httpx2.ConnectTimeout: there is none yet.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_s):
            given: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": host}
            connection, made = await _socket(host, port), list[Protocol]()

            def making() -> Protocol:
                made.append(make())
                return made[0]

            try:
                _, protocol = await loop.create_connection(making, sock=connection, **given)
            except BaseException:
                if not made:  # else a transport has the socket, and closes it: its number may be another's by now
                    connection.close()
                raise
            return protocol
    except TimeoutError as error:
        raise httpx2.ConnectTimeout(f"no connection within {within_s:g} s") from error
    except ssl.SSLError as error:
        raise httpx2.ConnectError(str(error)) from error
    except OSError as error:
        raise httpx2.ConnectError(str(error) if isinstance(error, socket.gaierror) else NOBODY) from error


async def _socket(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    newer = [each for each in found if each[0] == socket.AF_INET6]
    older = [each for each in found if each[0] != socket.AF_INET6]
    ordered = [each for each in chain.from_iterable(zip_longest(newer, older)) if each is not None]
    if len(ordered) == 1:
        return await _connected(ordered[0])
    winner: socket.socket | None
    winner, _, errors = await staggered_race([partial(_connected, each) for each in ordered], HEAD_START_S)
    if winner is None:
        raise next((error for error in errors if isinstance(error, OSError)), OSError(NOBODY))
    return winner


async def _connected(found: tuple[Any, ...]) -> socket.socket:
    family, kind, number, _, address = found
    connection = socket.socket(family, kind, number)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
