from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchboard.log.line_writer import LineWriter


def ignored(_lines: int) -> None:
    """What was lost is no part of the test."""


@pytest.fixture
def packets() -> Iterator[tuple[socket.socket, int]]:
    """Where each write arrives by itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs.fileno()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)
    os.close(reading)


def fill(descriptor: int) -> int:
    """Write until nothing more is taken; how many bytes that were."""
    ready, count = select.poll(), 0
    ready.register(descriptor, select.POLLOUT)
    while ready.poll(0):
        count += os.write(descriptor, b"x" * select.PIPE_BUF)
    return count


def read(descriptor: int, count: int) -> bytes:
    """Exactly `count` bytes."""
    data = b""
    while len(data) < count:
        data += os.read(descriptor, count - len(data))
    return data


async def turns(count: int = 2) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_lines_of_one_turn_of_the_loop_are_one_write(packets: tuple[socket.socket, int]) -> None:
    written, descriptor = packets
    writer = LineWriter(descriptor, ignored)
    for line in ("a", b"b", "ü"):
        writer.put(line)
    with pytest.raises(BlockingIOError):
        written.recv(100)

    await turns()
    writer.put("next")
    await turns()

    assert written.recv(100) == "a\nb\nü\n".encode()
    assert written.recv(100) == b"next\n"


def test_outside_of_a_loop_a_line_is_written_at_once(packets: tuple[socket.socket, int]) -> None:
    written, descriptor = packets
    LineWriter(descriptor, ignored).put("a")
    assert written.recv(100) == b"a\n"


async def test_a_line_that_cannot_wait_is_written_at_once_and_after_those_before_it(
    packets: tuple[socket.socket, int],
) -> None:
    written, descriptor = packets
    writer = LineWriter(descriptor, ignored)
    writer.put("before")
    writer.put_now("error")
    assert written.recv(100) == b"before\nerror\n"


async def test_lines_of_other_threads_come_at_once_and_in_order(packets: tuple[socket.socket, int]) -> None:
    written, descriptor = packets
    writer = LineWriter(descriptor, ignored)
    writer.put("loop")
    thread = threading.Thread(target=writer.put, args=("thread",))
    thread.start()
    thread.join()
    assert written.recv(100) == b"loop\nthread\n"


def test_a_loop_that_ended_before_it_wrote_holds_nothing_up(packets: tuple[socket.socket, int]) -> None:
    written, descriptor = packets
    writer = LineWriter(descriptor, ignored)
    ended = asyncio.new_event_loop()

    async def put(line: str) -> None:
        writer.put(line)

    task = ended.create_task(put("first"))
    ended.run_until_complete(task)
    ended.close()
    asyncio.run(put("second"))
    writer.flush()

    data = written.recv(100)
    while not data.endswith(b"second\n"):
        data += written.recv(100)
    assert data == b"first\nsecond\n"


async def test_what_a_pipe_is_given_at_once_ends_with_a_line_and_fits_so_that_processes_do_not_mix_theirs(
    packets: tuple[socket.socket, int],
) -> None:
    written, descriptor = packets
    writer = LineWriter(descriptor, ignored)
    lines = [f"{number} ".ljust(100 + number, ".") for number in range(100)]
    for line in lines:
        writer.put(line)
    await turns()

    pieces: list[bytes] = []
    while len(b"".join(pieces)) < sum(len(line) + 1 for line in lines):
        pieces.append(written.recv(1 << 20))
    assert max(len(piece) for piece in pieces) <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert b"".join(pieces).decode().split("\n")[:-1] == lines


async def test_lines_in_one_turn_are_one_write_to_a_file_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, write = [], os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno(), ignored)
        for number in range(1000):
            writer.put(str(number))
        monkeypatch.setattr(os, "write", counted)
        await turns()
    assert len(writes) == 1
    assert (tmp_path / "log").read_text().split() == list(map(str, range(1000)))


async def test_a_full_pipe_holds_up_nobody_and_loses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, ignored)
    before = fill(writing)

    lines = [f"line {number}".ljust(200) for number in range(200)]
    for line in lines:
        writer.put(line)
        await turns()  # a write that blocked would never come back

    read(reading, before)
    got = await asyncio.to_thread(read, reading, sum(len(line) + 1 for line in lines))
    assert got.decode().split("\n")[:-1] == lines


async def test_a_descriptor_that_another_process_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing, ignored)
    lines = [str(number).ljust(5000, ".") for number in range(50)]
    for line in lines:
        writer.put(line)
    got = await asyncio.to_thread(read, reading, sum(len(line) + 1 for line in lines))
    assert got.decode().split("\n")[:-1] == lines


async def test_beyond_what_may_wait_lines_are_dropped_and_their_number_is_told(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    told: list[int] = []
    writer = LineWriter(writing, told.append, most=1000)
    before = fill(writing)

    for _ in range(100):
        writer.put("x" * 99)
    kept = 11  # the eleventh finds 1000 bytes waiting, which is not more than 1000
    assert told == []

    read(reading, before)
    got = await asyncio.to_thread(read, reading, kept * 100)
    writer.flush()
    assert got == (b"x" * 99 + b"\n") * kept
    assert told == [100 - kept]
    writer.put_now("again")
    assert read(reading, 6) == b"again\n"


async def test_a_reader_that_is_gone_fails_nobody() -> None:
    reading, writing = os.pipe()
    told: list[int] = []
    writer = LineWriter(writing, told.append)
    os.close(reading)
    writer.put("a")
    writer.put_now("b")
    await turns()
    os.close(writing)
    writer.put_now("c")
    assert told == [], "nobody reads what would be said"
