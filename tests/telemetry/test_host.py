"""The numbers of several worker processes in one folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from switchboard.telemetry.host import Host
from switchboard.telemetry.metrics import BOUNDS, Snapshot

REQUESTS, DURATION, STREAMS = "switchboard_requests", "switchboard_request_duration_seconds", "switchboard_streams"
CALLS = ("tools/call", "ok", "modern")


def numbers(requests: int, streams: int = 0) -> Snapshot:
    latency = [float(requests), *[0.0] * len(BOUNDS), requests / 1000]
    return {
        REQUESTS: {CALLS: [requests]},
        DURATION: {("modern", "everything"): latency},
        STREAMS: {(): [streams]},
    }


def files(folder: Path) -> list[Path]:
    return list(folder.glob("*.json"))


class Process:
    """What stands for one worker process: its numbers, which a test sets."""

    def __init__(self, folder: Path, now: Snapshot) -> None:
        self.now = now
        self.host = Host(folder, lambda: self.now)
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        async with self.host.running():
            yield self


async def test_any_process_tells_the_sum_of_all(tmp_path: Path) -> None:
    async with Process(tmp_path, numbers(3, 1)).running() as one, Process(tmp_path, numbers(5, 2)).running() as two:
        told = await one.host.together()
        assert told[REQUESTS][CALLS] == [8]
        assert told[STREAMS][()] == [3]
        assert told[DURATION]["modern", "everything"][0] == 8
        assert told == await two.host.together()


async def test_what_a_process_counted_outlives_it_and_what_it_held_does_not(tmp_path: Path) -> None:
    async with Process(tmp_path, numbers(3, 1)).running() as stays:
        async with Process(tmp_path, numbers(5, 2)).running() as ends:
            ends.now = numbers(7, 2)
        for _ in range(3):  # it is added once, however often somebody asks
            told = await stays.host.together()
            assert told[REQUESTS][CALLS] == [10]
            assert told[STREAMS][()] == [1]
        assert len(files(tmp_path)) == 2


async def test_a_process_that_starts_when_all_have_ended_goes_on_from_their_numbers(tmp_path: Path) -> None:
    async with Process(tmp_path, numbers(4)).running():
        pass
    async with Process(tmp_path, numbers(1)).running() as fresh:
        assert (await fresh.host.together())[REQUESTS][CALLS] == [5]


async def test_what_was_added_by_somebody_who_was_stopped_then_is_not_added_again(tmp_path: Path) -> None:
    async with Process(tmp_path, numbers(4)).running():
        (file,) = files(tmp_path)
    left = file.read_bytes()
    async with Process(tmp_path, numbers(1)).running() as fresh:
        await fresh.host.together()
        file.write_bytes(left)  # as if it had been stopped before it took the file away
        assert (await fresh.host.together())[REQUESTS][CALLS] == [5]


async def test_metrics_of_another_version_are_left_out(tmp_path: Path) -> None:
    rows = {"switchboard_gone": [[["x"], [1]]], DURATION: [[["modern", ""], [1, 2]]], REQUESTS: [[[*CALLS], [2]]]}
    (tmp_path / "ended.json").write_text(json.dumps({"values": rows}))
    async with Process(tmp_path, numbers(1)).running() as fresh:
        told = await fresh.host.together()
    assert told[REQUESTS][CALLS] == [3]
    assert told[DURATION].keys() == {("modern", "everything")}
    assert "switchboard_gone" not in told


async def test_a_folder_that_cannot_be_written_to_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        async with Process(tmp_path / "file", numbers(1)).running():
            pass
