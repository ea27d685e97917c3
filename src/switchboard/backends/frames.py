"""What two workers say to each other about a call, in order and without loss.

Pub/sub loses messages when a connection breaks. So the holder numbers its frames and keeps them until the asker has
seen them; the asker repeats, every few seconds, what it has seen and what its client answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import ErrorData

from switchboard.state.pubsub import parsed

AGAIN_S: Final = 3.0
"""How often the asker repeats itself."""

SILENT_S: Final = 15.0
"""After so long without a sign, either end takes the other for lost."""

MOST: Final = 1_000
"""Frames that wait for the asker; further notifications are dropped, a question or an outcome never is, and of progress
the newest is kept."""

Frame = dict[str, Any]


class Outbox:
    """The holder's numbered frames."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._number = 0
        self._newest: Mapping[str, Any] | None = None
        """Progress for which there was no room."""

    def put(self, frame: Mapping[str, Any]) -> list[Frame]:
        """Number a frame; gives what is to be sent: nothing if it was dropped, or kept until there is room."""
        full = len(self._frames) >= MOST
        if full and frame["kind"] == "notify":
            return []
        if full and frame["kind"] == "progress":
            self._newest = frame
            return []
        return [*self._kept(), self._numbered(frame)]

    def seen(self, number: int) -> list[Frame]:
        """Forget what was seen; gives what was not."""
        while self._frames and self._frames[0]["n"] <= number:
            self._frames.popleft()
        if len(self._frames) < MOST:
            self._kept()
        return list(self._frames)

    def _kept(self) -> list[Frame]:
        """The progress that waited for room, which it gets now: nothing may come before it that came after it."""
        newest, self._newest = self._newest, None
        return [self._numbered(newest)] if newest is not None else []

    def _numbered(self, frame: Mapping[str, Any]) -> Frame:
        self._number += 1
        numbered = {**frame, "n": self._number}
        self._frames.append(numbered)
        return numbered


class Inbox:
    """The asker's end: frames in their order, each once."""

    def __init__(self) -> None:
        self.seen = 0
        self._frames: deque[Frame] = deque()
        self._behind = False
        self._filled = asyncio.Event()

    def put(self, payload: str) -> None:
        """Take a payload from the hub; an empty one means that some may have been missed."""
        frame = parsed(payload)
        if frame is None or not isinstance(frame.get("kind"), str) or not isinstance(frame.get("n", 0), int):
            self._behind = True
        elif "n" not in frame:
            self._frames.append(frame)  # a sign of life, or a refusal: it has no place in the order
        elif frame["n"] == self.seen + 1:
            self.seen += 1
            self._frames.append(frame)
        elif frame["n"] > self.seen:
            self._behind = True
        self._filled.set()

    async def get(self, seconds: float) -> Frame | None:
        """The next frame, or `None`: nothing in time, or something was missed and is to be asked for again."""
        try:
            async with asyncio.timeout(seconds):
                while not self._frames and not self._behind:
                    self._filled.clear()
                    await self._filled.wait()
        except TimeoutError:
            return None
        self._behind = self._behind and bool(self._frames)
        return self._frames.popleft() if self._frames else None


def error_frame(error: MCPError) -> Frame:
    """An error as a frame."""
    return {"kind": "error", "error": error.error.model_dump(by_alias=True, mode="json", exclude_none=True)}


def raised(frame: Mapping[str, Any]) -> MCPError:
    """The error in a frame."""
    return MCPError.from_error_data(ErrorData.model_validate(frame["error"]))
