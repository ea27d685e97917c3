"""The lines that a stream of bytes is made of, and the messages in them.

A line that is too long is never held: its beginning and its end are enough to tell which request it answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcp_types import JSONRPCMessage

from switchboard.backends.transports import messages


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
