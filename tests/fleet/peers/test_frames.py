"""What one end of a call keeps for the other, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.fleet.peers import frames
from switchboard.fleet.peers.frames import MAX_WAITING, Frame, Inbox, Outbox, Packed

MANY = 5 * MAX_WAITING


def progress(number: int) -> dict[str, Any]:
    return {"progress": number, "total": None, "message": None}


def sent(outbox: Outbox) -> list[Packed]:
    """All that is to be sent now."""
    found = []
    while (frame := outbox.unsent()) is not None:
        found.append(frame)
    return found


def steps(packed: list[Packed]) -> list[Any]:
    read = [Frame.read(each.text("c", "w", 0, again=False)) for each in packed]
    return [frame.body.get("progress", frame.kind) for frame in read if frame is not None]


def test_the_newest_progress_waits_for_room_and_comes_before_the_outcome() -> None:
    outbox = Outbox()
    for number in range(MANY):
        outbox.put("progress", progress(number))
    assert steps(sent(outbox)) == list(range(MAX_WAITING))
    outbox.put("result", {"result": {}})
    last = sent(outbox)
    assert steps(last) == [MANY - 1, "result"]
    assert [frame.number for frame in last] == [MAX_WAITING + 1, MAX_WAITING + 2]
    outbox.seen(MAX_WAITING)
    outbox.rewind()
    assert sent(outbox) == last


def test_the_newest_progress_is_sent_as_soon_as_the_others_were_seen() -> None:
    outbox = Outbox()
    for number in range(MANY):
        outbox.put("progress", progress(number))
    outbox.seen(MAX_WAITING)
    assert steps(sent(outbox)) == [MANY - 1]


def test_of_notifications_those_are_dropped_for_which_there_is_no_room_and_of_questions_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "WAITING_BYTES", 1_000)
    outbox = Outbox()
    for text in ("a" * 600, "b" * 600, "c"):
        outbox.put("notify", {"method": text, "params": None})
    outbox.put("ask", {"question": 1, "method": "x" * 600, "params": None})
    assert [frame.kind for frame in sent(outbox)] == ["notify", "notify", "ask"]
    outbox.seen(2)
    outbox.put("notify", {"method": "d", "params": None})
    assert [frame.number for frame in sent(outbox)] == [4]


def frame(number: int) -> Frame:
    return Frame("c", "w", "notify", number, 0, False, {})


def test_frames_wait_for_those_before_them_and_come_once() -> None:
    inbox = Inbox()
    for number in (2, 3, 2):
        inbox.put(frame(number))
    assert inbox.pop() is None
    assert inbox.behind()
    for number in (1, 3, 4):
        inbox.put(frame(number))
    assert [inbox.pop() for _ in range(5)] == [*map(frame, range(1, 5)), None]
    assert (inbox.seen, inbox.behind()) == (4, False)


def test_what_there_is_no_room_for_is_not_seen_and_asked_for_once_there_is() -> None:
    inbox = Inbox()
    for number in range(1, MAX_WAITING + 11):
        inbox.put(frame(number))
    assert inbox.seen == MAX_WAITING
    assert not inbox.behind()
    while inbox.pop() is not None:
        assert inbox.seen == MAX_WAITING
    assert inbox.behind()
    inbox.put(frame(MAX_WAITING + 1))
    assert inbox.pop() == frame(MAX_WAITING + 1)
