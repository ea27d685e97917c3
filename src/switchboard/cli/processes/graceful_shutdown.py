"""Leaving without failing a request: what a balancer has sent already is served, and nothing is closed under its hands.

A socket that is closed resets what waits in it: connections that the system has let in and nobody has accepted, and
requests that nobody has read. A balancer cannot repeat those, for it cannot know that they were not begun. So the door
is closed first, whoever stood in it is let in, and connections are left to their owners for a while before they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

import uvicorn

from switchboard.aio import background

LINGER_S: Final = 2.0
"""How long connections stay open behind the closed door: with DRAIN_GRACE, longer than balancers keep idle ones."""

SETTLE_S: Final = 0.5
"""How long whoever has knocked already may take to come in; below the second after which a knock is repeated."""

DRAIN_EVERY_S: Final = 0.2
MOST_WAITING: Final = 4096
_ATTACH_FILTER: Final = 26
_NO_NEW_CONNECTIONS: Final = (
    (0x30, 0, 0, 13),  # load the byte of TCP flags
    (0x45, 0, 1, 0x02),  # SYN, which a client sends first and never again?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep it
)
"""A classic BPF program (linux/filter.h): code, jump if true, jump if false, operand."""


async def close_door(server: uvicorn.Server, sockets: Sequence[socket.socket], linger: float, *, alone: bool) -> None:
    """Accept no more connections but those that have been let in by now, and let the last requests come in.

    Args:
        server: whose listeners are closed.
        sockets: what they listen on.
        linger: seconds that connections stay open afterwards.
        alone: whether no other process listens on the same sockets; else their parent locks them, when all leave.
    """
    if alone:
        lock(sockets)
    await asyncio.sleep(SETTLE_S)
    loop = asyncio.get_running_loop()
    doors = [each.dup() for each in sockets]
    for listener in server.servers:
        listener.close()
    for connection in _waiting(doors):
        await loop.connect_accepted_socket(lambda: _protocol(server), connection)
    await asyncio.sleep(linger)
    await asyncio.sleep(0)  # timers come before sockets: on a starved machine requests may lie there unread


@contextlib.asynccontextmanager
async def repeating(action: Callable[[], None]) -> AsyncIterator[None]:
    """Do it again and again while the block runs: a stream may open on a connection that is still there."""

    async def again() -> None:
        while True:
            action()
            await asyncio.sleep(DRAIN_EVERY_S)

    async with background(again()):
        yield


def lock(doors: Iterable[socket.socket]) -> None:
    """Let nobody knock any more, without a word: who does tries again in a second, and is refused by then.

    Without it, whoever is let in between the last look and the closing is reset. Only the first packet of a connection
    is dropped: who has knocked already still has to come in, or is reset just the same. Linux only; elsewhere that
    moment is merely short. (socket(7), SO_ATTACH_FILTER; it is shown the segment from its TCP header on.)
    """
    if sys.platform != "linux":
        return
    steps = b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS)
    program = ctypes.create_string_buffer(steps)
    filled = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(program))
    for door in doors:
        with contextlib.suppress(OSError):
            door.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filled)


def _waiting(doors: Iterable[socket.socket]) -> list[socket.socket]:
    """Whoever waits to be accepted; each door is closed in the moment in which nobody does."""
    found = []
    for door in doors:
        with door:
            door.setblocking(False)
            for _ in range(MOST_WAITING):
                try:
                    found.append(door.accept()[0])
                except BlockingIOError:
                    break
    return found


def _protocol(server: uvicorn.Server) -> asyncio.Protocol:
    """What uvicorn makes for each connection."""
    made: asyncio.Protocol = server.config.http_protocol_class(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state=server.lifespan.state
    )
    return made
