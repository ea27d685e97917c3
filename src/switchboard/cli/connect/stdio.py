"""Standard input and output as messages; whatever else is printed goes to standard error."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage

from switchboard.backends.transports.framing import LineSplitter, parsed

Received = SessionMessage | Exception

CHUNK: Final = 65_536
"""Bytes that are read at once."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one message of the client; a longer one is left out."""


class Client:
    """Whoever started this process, and talks to it on its standard streams."""

    def __init__(self, incoming: Any, output: BinaryIO) -> None:
        self.incoming = incoming
        """Async iterable of messages, or of what is wrong with a line."""
        self._output = output
        self._turn = anyio.Lock()

    async def tell(self, message: JSONRPCMessage) -> None:
        """Write one message.

        Raises:
            BrokenPipeError: the client has gone.
        """
        line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        async with self._turn:
            await anyio.to_thread.run_sync(self._write, line, abandon_on_cancel=True)

    def _write(self, line: bytes) -> None:
        self._output.write(line)
        self._output.flush()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """The client of this process; it ends with its input."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    send, receive = anyio.create_memory_object_stream[Received](0)
    async with send, receive:
        loop = asyncio.get_running_loop()
        # A thread of its own, which dies with the process: one that waits for input cannot be told to stop.
        threading.Thread(target=_read, args=(sys.stdin.fileno(), send.clone(), loop), daemon=True).start()
        await send.aclose()
        yield Client(receive, output)


def _read(source: int, send: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Read from a descriptor: a file object would be locked when the interpreter ends."""

    async def give(item: Received) -> None:
        await send.send(item)

    def said(item: Received) -> None:
        asyncio.run_coroutine_threadsafe(give(item), loop).result()

    lines = LineSplitter(MOST_BYTES)
    try:
        while chunk := os.read(source, CHUNK):
            for line in lines.feed(chunk):
                for item in parsed(line, MOST_BYTES):
                    said(item if isinstance(item, Exception) else SessionMessage(item))
        asyncio.run_coroutine_threadsafe(send.aclose(), loop).result()
    except (RuntimeError, CancelledError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the loop, or the bridge, has ended before its input
