"""The open connections to a backend's servers, by origin."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Final

import httpx2

from switchboard.backends.transports.http_client.connecting import connected
from switchboard.backends.transports.http_client.connection import Answer, Headers, HttpConnection, Timeouts

IDLE_S: Final = 4.0
"""How long a connection that nobody uses stays open: less than the 5 s after which many servers close one."""

MOST_IDLE: Final = 100

_IN_NO_HEADER: Final = re.compile(rb"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL is, as a request has it."""

    tls: bool
    host: str
    port: int
    path: bytes
    """With its query."""

    authority: bytes
    """For the `Host` header."""

    @classmethod
    def of(cls, url: httpx2.URL) -> Target:
        """A URL's."""
        tls = url.scheme == "https"
        return cls(tls, url.raw_host.decode("ascii"), url.port or (443 if tls else 80), url.raw_path, url.netloc)


def header_lines(headers: Headers) -> bytes:
    """Headers as they are sent.

    Raises:
        httpx2.LocalProtocolError: one has a line break in it.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if len(_IN_NO_HEADER.findall(lines)) != 2 * len(headers):
        raise httpx2.LocalProtocolError("a header has a line break in it")
    return lines


class HttpClient:
    """Connections that stay open between requests."""

    def __init__(self) -> None:
        self._idle: dict[tuple[bool, str, int], list[HttpConnection]] = {}
        self._open: set[HttpConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._context: ssl.SSLContext | None = None
        self._closed = False
        self.opened = 0
        """How many connections were opened."""

    @property
    def idle(self) -> int:
        """How many connections are open that nobody uses."""
        return sum(map(len, self._idle.values()))

    async def send(
        self,
        target: Target,
        method: bytes,
        lines: bytes,
        body: bytes,
        timeouts: Timeouts,
        waiting: set[Answer] | None = None,
    ) -> Answer:
        """Send a request and wait for the head of its answer.

        Args:
            lines: its headers, all but `content-length`, as `header_lines` writes them.
            waiting: has the answer once it is waited for, unless there is none.

        Raises:
            httpx2.ConnectError: nobody has seen it.
            httpx2.ConnectTimeout: nobody has seen it.
            httpx2.TransportError: there is no answer; the server may have seen it.
        """
        length = b"content-length: %d\r\n" % len(body) if body or method == b"POST" else b""
        request = b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, target.path, lines, length, body)
        connection = self._idle_one(target) or await self._new(target, timeouts)
        return await connection.send(request, timeouts, set() if waiting is None else waiting)

    def close(self) -> None:
        """Close all, whatever is under way."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.close()
        self._open.clear()
        self._idle.clear()

    def _idle_one(self, target: Target) -> HttpConnection | None:
        """The connection that was used last."""
        idle = self._idle.get((target.tls, target.host, target.port))
        while idle:
            connection = idle.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    async def _new(self, target: Target, timeouts: Timeouts) -> HttpConnection:
        if self._closed:
            raise httpx2.ConnectError("its connections are closed")
        origin = (target.tls, target.host, target.port)
        if target.tls and self._context is None:
            self._context = httpx2.create_ssl_context()
            self._context.set_alpn_protocols(["http/1.1"])
        connection = await connected(
            lambda: HttpConnection(lambda each: self._keep(origin, each), self._open.discard),
            target.host,
            target.port,
            self._context if target.tls else None,
            timeouts.connect,
        )
        self.opened += 1
        self._open.add(connection)
        if self._closed:
            connection.close()
        return connection

    def _keep(self, origin: tuple[bool, str, int], connection: HttpConnection) -> None:
        if self.idle >= MOST_IDLE:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        """Close what nobody used for long, and look again while there is any."""
        loop = asyncio.get_running_loop()
        for idle in self._idle.values():
            while idle and (idle[0].closed or idle[0].idle_since + IDLE_S <= loop.time()):
                idle.pop(0).close()
        oldest = min((idle[0].idle_since for idle in self._idle.values() if idle), default=None)
        self._sweep = None if oldest is None else loop.call_at(oldest + IDLE_S, self._close_idle)
