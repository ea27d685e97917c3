"""A relay between clients and Redis, for tests that count what is said."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")


class Relay:
    """Passes bytes between clients and Redis, and keeps what clients say: a piece for each write.

    Args:
        url: of the Redis.
    """

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port or 0
        self._numbers = count()
        self.said: list[tuple[int, bytes]] = []
        """With the number of the connection on which each was said."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Gives the URL to use instead."""
        passing: list[asyncio.Task[None]] = []

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = next(self._numbers)
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            passing.append(tasks.create_task(self._passed(reader, back, number)))
            passing.append(tasks.create_task(self._passed(there, writer, None)))

        async with asyncio.TaskGroup() as tasks:
            server = await asyncio.start_server(met, "127.0.0.1", 0)
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
            server.close()
            for task in passing:
                task.cancel()

    async def _passed(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int | None) -> None:
        try:
            while data := await source.read(65536):
                if number is not None:
                    self.said.append((number, data))
                sink.write(data)
        except OSError:  # it was ended without being closed
            pass
        finally:
            sink.close()


def commands(said: bytes) -> list[str]:
    """The names of the commands in what was said."""
    return [name.decode() for name in _COMMAND.findall(said)]
