"""The frames of a call: their shapes, their order, and what is kept to be sent again.

A frame is a JSON object: `call` (its id), `from` (the worker that sent it), `kind`, `n` (its place in the order, 0 if
it has none), `seen` (up to where the sender has everything of the other side), `again` (whether the receiver is to send
what was not seen, or a sign of life) and `body`, whose members depend on the kind.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from switchboard.state.pubsub import parsed

PROTOCOL: Final = 1
"""The version of the frames; part of the channels' names."""

FRAME_BYTES: Final = 24 * 1024 * 1024
"""The longest body: Redis ends a subscriber's connection on which 32 MiB wait."""

MAX_WAITING: Final = 1_000
"""Frames of one call that wait to be seen; of more, notifications are dropped and of progress the newest is kept."""

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one call's frames that wait to be seen, likewise."""

_OPTIONAL_OBJECT: Final = (dict, NoneType)
_NUMBER: Final = (int, float)
_ASKING: Final = {"method": str, "params": _OPTIONAL_OBJECT}

Shape = Mapping[str, Any]

FROM_CALLER: Final[Mapping[str, Shape]] = {
    "call": {"method": str, "params": dict, "once": bool},
    "answer": {"question": int, "result": _OPTIONAL_OBJECT, "error": _OPTIONAL_OBJECT},
    "seen": {},
    "cancel": {},
}

ENDS: Final[Mapping[str, Shape]] = {
    "result": {"result": object},
    "error": {"error": dict},
    "refused": {"reason": str},
    "lost": {"reason": str},
}
"""What ends a call: served, failed, not begun, begun and not finished."""

FROM_SERVER: Final[Mapping[str, Shape]] = {
    "alive": {},
    "notify": _ASKING,
    "progress": {"progress": _NUMBER, "total": (*_NUMBER, NoneType), "message": (str, NoneType)},
    "ask": {"question": int, **_ASKING},
    **ENDS,
}

_SHAPES: Final = {**FROM_CALLER, **FROM_SERVER}
_NAME: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that was received."""

    call: str
    sender: str
    kind: str
    number: int
    seen: int
    again: bool
    body: Mapping[str, Any]

    @classmethod
    def read(cls, payload: str) -> Frame | None:
        """The frame in a payload; `None` for anything that is none of this version."""
        found = parsed(payload)
        if found is None:
            return None
        call, sender, kind, body = (found.get(name) for name in ("call", "from", "kind", "body"))
        if not (_is_name(call) and _is_name(sender) and isinstance(kind, str) and isinstance(body, dict)):
            return None
        number, seen, shape = found.get("n"), found.get("seen"), _SHAPES.get(kind)
        if shape is None or not (_is_count(number) and _is_count(seen)):
            return None
        if not all(isinstance(body.get(name, _MISSING), kinds) for name, kinds in shape.items()):
            return None
        return cls(str(call), str(sender), kind, int(number or 0), int(seen or 0), found.get("again") is True, body)


@dataclass(frozen=True, slots=True)
class Packed:
    """One frame to be sent: its place in the order, and its body as JSON."""

    number: int
    kind: str
    body: str

    def text(self, call: str, sender: str, seen: int, *, again: bool) -> str:
        """The payload."""
        head = {"call": call, "from": sender, "kind": self.kind, "n": self.number, "seen": seen, "again": again}
        return f'{json.dumps(head)[:-1]}, "body": {self.body}}}'


class Outbox:
    """What one side has to say, numbered; kept until the other side has seen it."""

    def __init__(self) -> None:
        self._frames: deque[Packed] = deque()
        self._number = 0
        self._sent = 0
        self._newest: str | None = None
        """Progress for which there was no room."""
        self.bytes = 0
        """How much is kept."""

    def put(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take a frame; a notification for which there is no room is dropped.

        Raises:
            ValueError: it is too long, or says what cannot be sent.
        """
        text = packed_body(body)
        full = self._full()
        if full and kind == "notify":
            return
        if full and kind == "progress":
            self._newest = text
            return
        self._place_newest()
        self._place(kind, text)

    def seen(self, number: int) -> None:
        """Forget what the other side has seen."""
        while self._frames and self._frames[0].number <= number:
            self.bytes -= len(self._frames.popleft().body)
        if not self._full():
            self._place_newest()

    def unsent(self) -> Packed | None:
        """The next frame to be sent, which counts as sent from now on."""
        if not self.waits:
            return None
        frame = self._frames[max(self._sent + 1 - self._frames[0].number, 0)]
        self._sent = frame.number
        return frame

    def rewind(self) -> None:
        """Send again all that was not seen."""
        self._sent = 0

    @property
    def waits(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._frames) and self._sent < self._number

    def _full(self) -> bool:
        return len(self._frames) >= MAX_WAITING or self.bytes >= WAITING_BYTES

    def _place_newest(self) -> None:
        """Give the progress that waited for room its place: nothing may come before it that came after it."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._place("progress", newest)

    def _place(self, kind: str, text: str) -> None:
        self._number += 1
        self.bytes += len(text)
        self._frames.append(Packed(self._number, kind, text))


class Inbox:
    """What the other side said, in its order, each once."""

    def __init__(self) -> None:
        self.seen = 0
        """Up to where everything came."""
        self._ready: deque[Frame] = deque()
        self._early: dict[int, Frame] = {}
        self._refused = False

    def put(self, frame: Frame) -> None:
        """Take a numbered frame. One for which there is no room is not seen, so it will be sent again."""
        if frame.number <= self.seen or frame.number in self._early:
            return
        waiting = self._ready if frame.number == self.seen + 1 else self._early
        if len(waiting) >= MAX_WAITING:
            self._refused = True
            return
        self._early[frame.number] = frame
        while (following := self._early.pop(self.seen + 1, None)) is not None:
            self.seen += 1
            self._ready.append(following)

    def end(self, frame: Frame) -> None:
        """Take an end that has no place in the order."""
        self._ready.append(frame)

    def pop(self) -> Frame | None:
        """The next frame, if it is there."""
        return self._ready.popleft() if self._ready else None

    def behind(self) -> bool:
        """Whether something is missing that can be taken now; asking clears what was refused for want of room."""
        if not self._refused:
            return bool(self._early)
        self._refused = bool(self._ready)
        return not self._refused


def packed_body(body: Mapping[str, Any]) -> str:
    """A body as JSON.

    Raises:
        ValueError: it is too long, or says what cannot be sent.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("it cannot be sent from one worker to another") from error
    if size > FRAME_BYTES:
        raise ValueError(f"it has {size} bytes, and from one worker to another {FRAME_BYTES} can be sent")
    return text


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
