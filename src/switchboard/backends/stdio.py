"""Newline-delimited JSON-RPC with a child.

The SDK's own transport reads a line of any length into memory and reports every line of garbage with a traceback; this
one bounds a message, and counts garbage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from switchboard.backends.child import CHUNK, Child
from switchboard.backends.failures import Ended

Received = SessionMessage | Exception

WAITING: Final = 64
"""Messages that wait for a child to read: so that whoever gives up a call need not wait to say so."""


class Lines:
    """Cuts a stream of bytes into lines, and refuses one that is longer than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes.

        Raises:
            Ended: a line is too long.
        """
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            yield b"".join((*self._parts, line))
            self._parts, self._size = [], 0
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > self._most:
            raise Ended(f"it sent a message of more than {self._most} bytes")


@asynccontextmanager
async def streams(child: Child, most: int) -> AsyncIterator[tuple[Any, Any, asyncio.Future[str]]]:
    """What to read from, what to write to, and why reading ended once it has."""
    incoming, received = anyio.create_memory_object_stream[Received](0)
    to_send, outgoing = anyio.create_memory_object_stream[SessionMessage](WAITING)
    why: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with incoming, received, to_send, outgoing, anyio.create_task_group() as tasks:
        tasks.start_soon(_read, child, most, incoming, why)
        tasks.start_soon(_write, child, outgoing)
        try:
            yield received, to_send, why
        finally:
            tasks.cancel_scope.cancel()


async def _read(child: Child, most: int, incoming: Any, why: asyncio.Future[str]) -> None:
    reason = ""
    async with incoming:
        try:
            await _read_lines(child, Lines(most), incoming)
        except Ended as error:
            reason = str(error)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            reason = "its pipe broke"
        finally:
            if not why.done():
                why.set_result(reason)


async def _read_lines(child: Child, lines: Lines, incoming: Any) -> None:
    stdout = child.process.stdout
    while stdout is not None and (chunk := await stdout.read(CHUNK)):
        for line in lines.feed(chunk):
            if line.strip():
                await incoming.send(parsed(line))


async def _write(child: Child, outgoing: Any) -> None:
    stdin = child.process.stdin
    async with outgoing:
        async for item in outgoing:
            if stdin is None or stdin.is_closing():
                return
            stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            try:
                await stdin.drain()
            except OSError:  # the child is gone or going; the reader says why
                return


def parsed(line: bytes) -> Received:
    """The message in a line, or what is wrong with it."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
