"""Looking up the addresses of hosts, with a bound on how many look-ups are under way.

The system's `getaddrinfo` cannot be interrupted: whoever stops waiting for it leaves a thread behind, for as long as
the system's resolver tries, which is up to a minute. Event loops have a few such threads (asyncio's default executor,
libuv's four) and share them with other work, so that some names with dead servers stop all look-ups. Here each look-up
has a thread of its own that ends with it, one name is looked up once however many wait, and the number is bounded.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import uvloop

from switchboard.common.fetch.shares import Shares

AT_ONCE: Final = 64
"""Look-ups of names that the operator chose: one for each, so more would be more names than are configured anywhere."""

Found = list[tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it."""

LookUp = Callable[[str, int, int, int, int], Found]
"""`(host, family, type, proto, flags)`; may block."""


class Busy(socket.gaierror):
    """Too many look-ups are under way."""

    def __init__(self) -> None:
        super().__init__(socket.EAI_AGAIN, "too many names are being looked up")


def by_system(host: str, family: int, kind: int, proto: int, flags: int) -> Found:
    """What the system's resolver says.

    Raises:
        socket.gaierror: it knows no address, or cannot tell now.
    """
    try:
        return socket.getaddrinfo(host, 0, family, kind, proto, flags)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error


class Resolver:
    """Looks names up.

    Args:
        shares: how many look-ups may be under way.
        look_up: what asks; it runs in a thread.
    """

    def __init__(self, shares: Shares, look_up: LookUp | None = None) -> None:
        self._shares = shares
        self._look_up = look_up or by_system
        self._under_way: dict[tuple[Any, ...], asyncio.Future[Found]] = {}

    async def find(
        self, host: str, *, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0, source: str = ""
    ) -> Found:
        """The addresses of a host, with port 0; `source` is who wants to know.

        Raises:
            Busy: too many look-ups are under way, in all or for `source`.
            socket.gaierror: there is no address, or none can be had now.
        """
        asked = (host.lower().removesuffix("."), family, kind, proto, flags)
        waiting = self._under_way.get(asked) or self._begin(asked, source)
        return await asyncio.shield(waiting)

    def _begin(self, asked: tuple[str, int, int, int, int], source: str) -> asyncio.Future[Found]:
        give_back = self._shares.take(source=source)
        if give_back is None:
            raise Busy
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()

        def end(addresses: Found, error: Exception | None) -> None:
            del self._under_way[asked]
            give_back()
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)
                found.exception()  # whoever asked may have left: that is nothing to warn about

        def work() -> None:
            addresses, error = list[tuple[Any, ...]](), None
            try:
                addresses = self._look_up(*asked)
            except Exception as failure:  # whatever it is belongs to those who wait, not to this thread
                error = failure
            with suppress(RuntimeError):  # the loop is closed, and whoever waited gone with it
                loop.call_soon_threadsafe(end, addresses, error)

        # Not of a pool: those are joined at the end of the process, which would have to wait for them.
        thread = threading.Thread(target=work, name="look-up", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            give_back()
            raise Busy from error
        self._under_way[asked] = found
        return found


class Loop(uvloop.Loop):
    """The event loop of our processes: names are looked up by a `Resolver` instead of a few shared threads."""

    def __init__(self) -> None:
        super().__init__()
        self._resolver = Resolver(Shares(AT_ONCE))

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the base class has it
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As the base class; what is no name of a host goes there."""
        if not isinstance(host, str) or not host or not isinstance(port, int):
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        found = await self._resolver.find(host, family=family, kind=type, proto=proto, flags=flags)
        return [(*one[:4], (one[4][0], port, *one[4][2:])) for one in found]
