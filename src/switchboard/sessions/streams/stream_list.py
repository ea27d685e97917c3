"""What clients hold open on this worker, in the order in which it was opened: for operators, who see it and end it.

A worker tells of its own alone. Each stream has an id with the worker's in it, so whoever has the id knows whom to ask.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Final, Literal

Kind = Literal["get", "sse", "websocket", "listen", "reply"]
"""A session's GET, HTTP+SSE, a WebSocket, `subscriptions/listen`, or the streamed answer to a POST of either era."""

Era = Literal["handshake", "modern"]

MOST_TOLD: Final = 1_000
"""Streams that are told of at once."""


@dataclass(frozen=True, slots=True)
class HeldStream:
    """One stream.

    Args:
        owner: whose it is, as `Principal.owner`.
        session: its session's id; empty in the modern era.
        opened: Unix seconds.
        end: ends it, once it is called.
    """

    kind: Kind
    era: Era
    owner: str
    session: str
    opened: float
    end: Callable[[], None]

    def told(self) -> dict[str, Any]:
        """As a document."""
        issuer, subject, client_id = json.loads(self.owner)
        return {
            "kind": self.kind,
            "era": self.era,
            "session": self.session,
            "issuer": issuer,
            "subject": subject,
            "client_id": client_id,
            "opened": self.opened,
        }


class StreamList:
    """The streams of one worker.

    Args:
        worker: its id.
        clock: Unix seconds.
    """

    def __init__(self, worker: str, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._clock = clock
        self._numbers = count(1)
        self._held: dict[int, HeldStream] = {}

    def add(self, kind: Kind, era: Era, owner: str, session: str, end: Callable[[], None]) -> Callable[[], None]:
        """List a stream; what takes it from the list again."""
        number = next(self._numbers)
        self._held[number] = HeldStream(kind, era, owner, session, self._clock(), end)

        def remove() -> None:
            self._held.pop(number, None)

        return remove

    @contextmanager
    def holding(self, kind: Kind, era: Era, owner: str, session: str, end: Callable[[], None]) -> Iterator[None]:
        """List a stream as long as the context is open."""
        remove = self.add(kind, era, owner, session, end)
        try:
            yield
        finally:
            remove()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What another worker asks: `{"end": ID}` ends a stream, anything else is a question for a page.

        Args:
            question: `after` (the id of the last stream of the page before, of whichever worker), `limit`, and
                `session` and `subject` of those that are meant, where they are given.
        """
        if "end" in question:
            return {"ended": self._end(str(question["end"]))}
        session, subject = str(question.get("session") or ""), str(question.get("subject") or "")
        meant = [
            (number, held)
            for number, held in self._held.items()
            if session in ("", held.session) and (not subject or _is_of(held.owner, subject))
        ]
        after = str(question.get("after") or "")
        limit = min(int(question.get("limit") or MOST_TOLD), MOST_TOLD) if worker_of(after) <= self._worker else 0
        last = self._number(after) or 0
        shown = islice((each for each in meant if each[0] > last), limit)
        return {
            "total": len(meant),
            "items": [{"id": f"{self._worker}.{number:012d}", **held.told()} for number, held in shown],
        }

    def _end(self, stream: str) -> dict[str, Any] | None:
        """What was ended, or nothing, if it is not there."""
        held = self._held.get(self._number(stream) or 0)
        if held is None:
            return None
        held.end()
        return held.told()

    def _number(self, stream: str) -> int | None:
        worker, _, number = stream.rpartition(".")
        return int(number) if worker == self._worker and number.isascii() and number.isdigit() else None


def worker_of(stream: str) -> str:
    """The worker that holds the stream of an id; empty if it is no such id."""
    return stream.rpartition(".")[0]


def _is_of(owner: str, subject: str) -> bool:
    """Whether an owner is of a subject. Most are ruled out without reading the JSON."""
    return json.dumps(subject) in owner and json.loads(owner)[1] == subject
