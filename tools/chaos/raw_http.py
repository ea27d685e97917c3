"""Just enough HTTP/1.1 and server-sent events for a client that repeats nothing: one request, one connection.

Written out because whatever a library mends in silence (a lost connection, a retry) is what is to be counted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

SILENT_S: Final = 18.0
"""Workers send a comment every 15 s: a stream that is silent for longer has lost its worker."""

LINE_LIMIT: Final = 1024 * 1024

T = TypeVar("T")


class Broken(Exception):
    """The exchange ended before its end; the message says how."""


@dataclass(frozen=True)
class Event:
    """One server-sent event; the priming one has no data."""

    id: str | None
    data: str


class Answer:
    """A response whose head has come."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def body(self) -> bytes:
        """The whole body."""
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self._chunks()])
        return await _in_time(self._reader.readexactly(int(self.headers.get("content-length", "0"))))

    async def events(self) -> AsyncGenerator[Event, None]:
        """The events up to the proper end of the body.

        Raises:
            Broken: the body ended without its end, or was silent for too long.
        """
        pending = b""
        async for chunk in self._chunks():
            *whole, pending = (pending + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
            for block in whole:
                fields = dict(_field(line) for line in block.decode().split("\n") if not line.startswith(":"))
                if fields:
                    yield Event(fields.get("id"), fields.get("data", ""))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await _in_time(self._reader.readline()) or b"x", 16):
            yield (await _in_time(self._reader.readexactly(size + 2)))[:-2]


@asynccontextmanager
async def sent(port: int, method: str, headers: dict[str, str], body: bytes = b"") -> AsyncIterator[Answer]:
    """Send one request to the balancer, and read the head of its answer.

    Raises:
        Broken: as `Answer.events`; also from inside the block.
    """
    writer = None
    try:
        reader, writer = await _in_time(asyncio.open_connection("127.0.0.1", port, limit=LINE_LIMIT))
        given = {"Host": f"localhost:{port}", "Connection": "close", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        writer.write(f"{method} /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
        yield await _head(reader)
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        raise Broken("connection reset" if isinstance(error, ConnectionError) else "connection cut") from error
    except TimeoutError as error:
        raise Broken(f"silent for {SILENT_S:g} s") from error
    finally:
        if writer is not None:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> Answer:
    head = (await _in_time(reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in map(_field, lines)}
    return Answer(reader, int(first.split(" ", 2)[1]), headers)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()


async def _in_time(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(SILENT_S):
        return await waiting
