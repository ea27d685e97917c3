"""Newline-delimited JSON-RPC with a child.

The SDK's own transport reads a line of any length into memory and leaves whoever waits for an answer that cannot be
read waiting; this one refuses a message that is too long, or cannot be read, under its id, and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from switchboard.backends.errors import BAD_GATEWAY
from switchboard.backends.transports import messages
from switchboard.backends.transports.child import CHUNK, Child

Received = SessionMessage | Exception

MESSAGES_WAITING: Final = 64
"""Messages that wait for a child to read: so that whoever gives up a call need not wait to say so."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A line that was too long to be kept: its beginning and its end."""

    beginning: bytes
    end: bytes


class LineSplitter:
    """Cuts a stream of bytes into lines, and keeps but the edges of one that is longer than `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._beginning = b""
        """Of a line that is too long already."""

    def feed(self, chunk: bytes) -> Iterator[bytes | Cut]:
        """The lines that `chunk` completes."""
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            self._add(line)
            joined = b"".join(self._parts)
            yield Cut(self._beginning, joined[-messages.EDGE_CHARS :]) if self._beginning else joined
            self._parts, self._size, self._beginning = [], 0, b""
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size <= self._max_bytes:
            return
        joined = b"".join(self._parts)
        self._beginning = self._beginning or joined[: messages.EDGE_CHARS]
        self._parts = [joined[-messages.EDGE_CHARS :]]


UNREAD_CODES: Final = frozenset({PARSE_ERROR, INVALID_REQUEST, BAD_GATEWAY})
"""Errors without an id that are about a request: the child could not read it, or its answer could not be read."""


class OpenRequests:
    """The requests that wait for an answer of the child's: an error that names none is for the only one."""

    def __init__(self) -> None:
        self._ids: dict[str, RequestId] = {}

    def sent(self, message: JSONRPCMessage) -> None:
        """Note what was sent to the child."""
        if isinstance(message, JSONRPCRequest):
            self._ids[str(message.id)] = message.id
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._ids.pop(str(cancelled_request_id_from_params(message.params)), None)

    def named(self, message: JSONRPCMessage) -> JSONRPCMessage:
        """What the child sent, with the id of the request that it answers."""
        nameless = isinstance(message, JSONRPCError) and message.id is None and message.error.code in UNREAD_CODES
        if nameless and len(self._ids) == 1:
            (number,) = self._ids.values()
            message = message.model_copy(update={"id": number})
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._ids.pop(str(message.id), None)
        return message


@asynccontextmanager
async def streams(child: Child, max_bytes: int) -> AsyncIterator[tuple[Any, Any, asyncio.Future[str]]]:
    """What to read from, what to write to, and why reading ended once it has."""
    incoming, received = anyio.create_memory_object_stream[Received](0)
    to_send, outgoing = anyio.create_memory_object_stream[SessionMessage](MESSAGES_WAITING)
    why: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    open_requests = OpenRequests()
    async with incoming, received, to_send, outgoing, anyio.create_task_group() as tasks:
        tasks.start_soon(_read, child, max_bytes, incoming, why, open_requests)
        tasks.start_soon(_write, child, outgoing, open_requests)
        try:
            yield received, to_send, why
        finally:
            tasks.cancel_scope.cancel()


async def _read(
    child: Child, max_bytes: int, incoming: Any, why: asyncio.Future[str], open_requests: OpenRequests
) -> None:
    reason, lines, stdout = "", LineSplitter(max_bytes), child.process.stdout
    async with incoming:
        try:
            while stdout is not None and (chunk := await stdout.read(CHUNK)):
                for line in lines.feed(chunk):
                    for item in parsed(line, max_bytes):
                        await incoming.send(
                            item if isinstance(item, Exception) else SessionMessage(open_requests.named(item))
                        )
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            reason = "its pipe broke"
        finally:
            if not why.done():
                why.set_result(reason)


def parsed(line: bytes | Cut, max_bytes: int) -> list[JSONRPCMessage | Exception]:
    """The messages in a line, or what is wrong with it.

    Args:
        max_bytes: bytes of a message.
    """
    if isinstance(line, Cut):
        why = f"it sent a message of more than {max_bytes} bytes"
        text = b"\n".join((line.beginning, line.end)).decode(errors="replace")
        return [messages.refused(text, why) or messages.Unreadable(why)]
    try:
        return [*messages.read(line)] if line.strip() else []
    except messages.Unreadable as error:
        return [error]


async def _write(child: Child, outgoing: Any, open_requests: OpenRequests) -> None:
    stdin = child.process.stdin
    async with outgoing:
        async for item in outgoing:
            if stdin is None or stdin.is_closing():
                return
            open_requests.sent(item.message)
            stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            try:
                await stdin.drain()
            except OSError:  # the child is gone or going; the reader says why
                return
