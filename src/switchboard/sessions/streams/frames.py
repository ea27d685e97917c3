"""Frames of a stream, and how they look as server-sent events.

An event id is `<stream>.<redis id>`: the minted stream name makes it unique in the session, the Redis id orders it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from switchboard.common import strict_json

# No empty line after a comment: it ends an event, and some clients then take what they had before for one more.
OPENED: Final = b": open\r\n"
"""The first bytes of a stream without a priming event: its headers must not wait for its first frame."""

KEEPALIVE: Final = b": keepalive\r\n"

RETRY_MS: Final = 1_000
"""What a client is asked to wait before it reconnects."""

PRIMED_SINCE: Final = "2025-11-25"
"""The first revision whose clients expect a priming event."""

_EVENT_ID: Final = re.compile(r"([A-Za-z0-9_-]{1,32})\.([0-9]{1,20}-[0-9]{1,20})")

_LAST: Final = (1 << 64) - 1
"""Both halves of a Redis id are below 2^64, and nothing comes after the last id."""


NO_MESSAGE: Final = ""
"""The data of a frame that only says that a request is over: its client cancelled it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One JSON-RPC message on a stream, as it is stored."""

    id: str
    data: str
    final: bool = False
    total: int | None = None
    """The bytes that the stream has ever held, this frame included; `None` where an older worker wrote it."""

    def follows(self, total: int | None) -> bool:
        """Whether nothing is missing between this frame and the one before, at which the stream had held `total`."""
        return self.total is None or total is None or self.total - len(self.data.encode()) == total


def encode(message: dict[str, Any]) -> str:
    """One JSON-RPC message as compact JSON."""
    return strict_json.written(message).decode()


def event(stream: str, frame: Frame) -> bytes:
    """The frame as a server-sent event with its id."""
    return f"id: {stream}.{frame.id}\r\nevent: message\r\ndata: {frame.data}\r\n\r\n".encode()


def opening(stream: str, entry: str, version: str) -> bytes:
    """What a new stream begins with: an empty event that gives the client something to resume from (SEP-1699)."""
    if version < PRIMED_SINCE:
        return OPENED
    return f"id: {stream}.{entry}\r\nretry: {RETRY_MS}\r\ndata: \r\n\r\n".encode()


def parse_event_id(text: str) -> tuple[str, str] | None:
    """Split a `Last-Event-ID` into stream and Redis id; `None` when it is not one of ours."""
    match = _EVENT_ID.fullmatch(text)
    return (match[1], match[2]) if match and max(order(match[2])) < _LAST else None


def order(entry: str) -> tuple[int, int]:
    """A Redis id as something that compares."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def frames(entries: list[tuple[str, dict[str, str]]]) -> list[Frame]:
    """Stored entries as frames; the opening entry of a reply is not one."""
    return [_frame(entry, fields) for entry, fields in entries if "f" in fields]


def _frame(entry: str, fields: dict[str, str]) -> Frame:
    total = fields.get("b")
    return Frame(entry, fields["f"], fields.get("e") == "1", None if total is None else int(total))
