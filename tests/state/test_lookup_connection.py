"""Which reply belongs to which command, over a connection whose server says what the test has it say."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError, ReadOnlyError

from switchboard.aio import background
from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state import lookup_connection
from switchboard.state.lookup_connection import MOST_UNANSWERED, RECONNECT_S, SILENT_TICKS, Command, LookupConnection

PassTime = Callable[[float], Awaitable[None]]


class Transport:
    """A transport, from the connection's side; the test reads what was written, and answers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def says(self, data: bytes) -> None:
        self.protocol.data_received(data)


class Server:
    """A connection as redis-py makes one, and the ones before it."""

    def __init__(self) -> None:
        self.transports: list[Transport] = []
        self.refuses = False
        self.opens = asyncio.Event()
        self.opens.set()
        self.attempts = 0
        self.disconnected = 0

    def __call__(self) -> Server:
        return self

    @property
    def transport(self) -> Transport:
        """That of the newest connection."""
        return self.transports[-1]

    @property
    def _writer(self) -> Server:
        return self

    async def connect(self) -> None:
        self.attempts += 1
        await self.opens.wait()
        if self.refuses:
            raise ConnectionRefusedError("nobody is there")
        self.transports.append(Transport())

    async def disconnect(self, nowait: bool) -> None:
        assert nowait
        self.disconnected += 1


class Listener:
    """Satisfies `LookupListener`."""

    def __init__(self) -> None:
        self.losses = 0

    def lost(self) -> None:
        self.losses += 1

    def refused(self, reply: asyncio.Future[Any], _command: Command, error: Exception) -> None:
        reply.set_exception(error)

    def unsent(self, reply: asyncio.Future[Any], _command: Command, error: Exception) -> None:
        reply.set_exception(StateUnavailable(f"unsent: {error}"))


class Asking:
    """The connection, and what is asked on it."""

    def __init__(self, connection: LookupConnection, server: Server, listener: Listener) -> None:
        self.connection, self.server, self.listener = connection, server, listener

    def ask(self, *command: str) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.connection.send(reply, command)
        return reply


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[Asking]:
    server, listener = Server(), Listener()
    async with background() as start:
        connection = LookupConnection("", server, start, listener)
        yield Asking(connection, server, listener)
        connection.close()
    assert server.disconnected == server.attempts


@asynccontextmanager
async def connected() -> AsyncIterator[Asking]:
    """A connection that is open, and has answered once."""
    async with running() as asking:
        first = asking.ask("PING")
        await settled()
        asking.server.transport.says(b"+PONG\r\n")
        assert await first == "PONG"
        asking.server.transport.written.clear()
        yield asking


async def test_what_is_asked_within_one_turn_of_the_loop_leaves_in_one_write() -> None:
    async with connected() as asking:
        asked = [asking.ask("EXISTS", "a", "b"), asking.ask("GET", "ü")]
        await settled()
        written = b"*3\r\n$6\r\nEXISTS\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n"
        assert asking.server.transport.written == [written]
        asking.server.transport.says(b":1\r\n$-1\r\n")
        assert [await each for each in asked] == [1, None]
        later = asking.ask("GET", "c")
        await settled()
        assert len(asking.server.transport.written) == 2
        asking.server.transport.says(b"$1\r\nx\r\n")
        assert await later == "x"


async def test_what_is_asked_before_there_is_a_connection_leaves_in_one_write_once_there_is() -> None:
    async with running() as asking:
        asked = [asking.ask("GET", "a")]
        await asyncio.sleep(0)
        asked.append(asking.ask("GET", "b"))
        await settled()
        assert asking.server.attempts == 1
        assert len(asking.server.transport.written) == 1
        asking.server.transport.says(b"$1\r\n1\r\n$1\r\n2\r\n")
        assert [await each for each in asked] == ["1", "2"]


@given(
    turns=st.lists(st.lists(st.sampled_from(["kept", "cancelled before", "cancelled after"]), max_size=5), max_size=6),
    cuts=st.lists(st.integers(0, 400)),
)
def test_every_reply_goes_to_its_own_command_however_they_come_in_and_whoever_has_gone(
    turns: list[list[str]], cuts: list[int]
) -> None:
    async def play() -> None:
        async with connected() as asking:
            asked: list[tuple[str, asyncio.Future[Any]]] = []
            for turn in turns:
                fresh = [(fate, asking.ask("GET", "k")) for fate in turn]
                for fate, reply in fresh:
                    if fate == "cancelled before":  # it was sent
                        reply.cancel()
                asked += fresh
                await settled()
            for fate, reply in asked:
                if fate == "cancelled after":
                    reply.cancel()
            answers = b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(len(asked)))
            edges = [0, *sorted(min(cut, len(answers)) for cut in cuts), len(answers)]
            for start, end in pairwise(edges):
                asking.server.transport.says(answers[start:end])
            assert len(asking.server.transport.written) == sum(bool(turn) for turn in turns)
            for number, (fate, reply) in enumerate(asked):
                assert reply.cancelled() if fate != "kept" else await reply == str(number)

    asyncio.run(play())


async def test_nobody_complains_of_an_error_that_no_caller_looks_at() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    async with connected() as asking:
        asking.ask("GET", "a")
        await settled()
        asking.server.transport.protocol.connection_lost(None)
    gc.collect()
    assert complaints == []


async def test_an_error_is_that_of_its_command_alone() -> None:
    async with connected() as asking:
        asked = [asking.ask("GET", "a"), asking.ask("GET", "b"), asking.ask("GET", "c")]
        await settled()
        asking.server.transport.says(b"$1\r\n1\r\n-NOPERM no\r\n$1\r\n3\r\n")
        assert [await asked[0], await asked[2]] == ["1", "3"]
        with pytest.raises(NoPermissionError):
            await asked[1]
        assert asking.listener.losses == 0


@pytest.mark.parametrize("said", [b"+nobody asked\r\n", b"?what is that\r\n"])
async def test_a_server_that_says_what_nobody_asked_for_is_given_up(said: bytes) -> None:
    async with connected() as asking:
        asking.server.transport.says(said)
        assert asking.server.transport.closed
        assert asking.listener.losses == 1
        again = asking.ask("GET", "a")
        await settled()
        asking.server.transport.says(b"$1\r\n1\r\n")
        assert await again == "1"


async def test_a_server_that_became_a_replica_is_left_for_the_one_that_is_master_now() -> None:
    async with connected() as asking:
        asked = [asking.ask("PEXPIRE", "a", "1"), asking.ask("GET", "b")]
        await settled()
        asking.server.transport.says(b"-READONLY You can't write against a read only replica.\r\n$1\r\n1\r\n")
        with pytest.raises(ReadOnlyError):
            await asked[0]
        with pytest.raises(StateUnavailable, match="may have been done"):
            await asked[1]
        asking.ask("GET", "c")
        await settled()
        assert len(asking.server.transports) == 2


async def test_a_connection_that_ends_is_told_to_all_who_wait_and_says_nothing_to_those_after_them() -> None:
    async with connected() as asking:
        lost = asking.ask("GET", "a")
        await settled()
        old = asking.server.transport
        old.protocol.connection_lost(ConnectionResetError("reset by peer"))
        with pytest.raises(StateUnavailable, match="may have been done: reset by peer"):
            await lost
        after = asking.ask("GET", "b")
        await settled()
        old.says(b"$3\r\nold\r\n")
        old.protocol.connection_lost(None)
        asking.server.transport.says(b"$3\r\nnew\r\n")
        assert await after == "new"
        assert asking.listener.losses == 1


async def test_a_server_that_refuses_is_asked_again_at_growing_intervals_and_once_for_all_who_wait(
    pass_time: PassTime,
) -> None:
    async with running() as asking:
        asking.server.refuses = True
        for failures in range(len(RECONNECT_S) + 2):
            asked = [asking.ask("GET", "a") for _ in range(5)]
            await settled()
            pause = RECONNECT_S[min(failures, len(RECONNECT_S) - 1)]
            assert asking.server.attempts == failures + (pause == 0)
            await pass_time(pause)
            for each in asked:
                with pytest.raises(StateUnavailable, match="unsent: nobody is there"):
                    await each
            assert asking.server.attempts == failures + 1
        asking.server.refuses = False
        asked = [asking.ask("GET", "a")]
        await settled()
        await pass_time(RECONNECT_S[-1])
        asking.server.transport.says(b"$1\r\n1\r\n")
        assert await asked[0] == "1"


async def test_a_server_that_leaves_a_command_unanswered_is_given_up(pass_time: PassTime) -> None:
    async with connected() as asking:
        asked = [asking.ask("GET", "a"), asking.ask("GET", "b")]
        await settled()
        for _ in range(SILENT_TICKS):
            await pass_time(lookup_connection.TICK_S)
        assert not asked[0].done()
        await pass_time(lookup_connection.TICK_S)
        for each in asked:
            with pytest.raises(StateUnavailable, match="unanswered"):
                await each
        assert asking.server.transport.closed
        assert asking.listener.losses == 1


async def test_a_slow_server_that_answers_one_command_after_the_other_is_kept(pass_time: PassTime) -> None:
    async with connected() as asking:
        asked = [asking.ask("GET", "a") for _ in range(4 * SILENT_TICKS)]
        await settled()
        for each in asked:
            await pass_time(lookup_connection.TICK_S)
            asking.server.transport.says(b"$1\r\n1\r\n")
            assert await each == "1"
        assert asking.listener.losses == 0


async def test_a_worker_that_stood_still_itself_takes_no_server_for_silent(pass_time: PassTime) -> None:
    async with connected() as asking:
        for _ in range(3):
            asked = asking.ask("GET", "a")
            await settled()
            await pass_time(3600)
            asking.server.transport.says(b"$1\r\n1\r\n")
            assert await asked == "1"
        assert asking.listener.losses == 0


async def test_after_an_answer_a_lost_connection_is_opened_again_at_once() -> None:
    async with connected() as asking:
        for number in range(len(RECONNECT_S) + 1):
            asking.server.transport.protocol.connection_lost(None)
            answer = asking.ask("GET", "a")
            await settled()
            assert asking.server.attempts == number + 2
            asking.server.transport.says(b"$1\r\n1\r\n")
            assert await answer == "1"


async def test_a_connection_that_comes_up_when_it_was_closed_already_is_not_kept() -> None:
    async with running() as asking:
        asking.server.opens.clear()
        waiting = asking.ask("GET", "a")
        await settled()
        asking.connection.close()
        with pytest.raises(StateUnavailable, match="closed"):
            await waiting
        asking.server.opens.set()
        await settled()
        assert not hasattr(asking.server.transport, "protocol")


async def test_more_than_so_many_unanswered_commands_are_refused_and_nothing_is_written_for_them() -> None:
    async with connected() as asking:
        asked = [asking.ask("GET", "a") for _ in range(MOST_UNANSWERED)]
        await settled()
        written = sum(map(len, asking.server.transport.written))
        with pytest.raises(StateBusy, match="run more workers"):
            await asking.ask("GET", "a")
        await settled()
        assert sum(map(len, asking.server.transport.written)) == written
        asking.server.transport.says(b"$1\r\n1\r\n" * MOST_UNANSWERED)
        assert all(each.result() == "1" for each in asked)
        again = asking.ask("GET", "b")
        await settled()
        asking.server.transport.says(b"$1\r\n2\r\n")
        assert await again == "2"


async def test_while_there_is_no_connection_no_more_than_so_many_commands_wait_for_one(pass_time: PassTime) -> None:
    async with running() as asking:
        asking.server.refuses = True
        for _ in RECONNECT_S:  # so that the next attempt is a while away
            asking.ask("GET", "a").add_done_callback(lambda reply: reply.exception())
            await settled()
            await pass_time(RECONNECT_S[-1])
        asked = [asking.ask("GET", "a") for _ in range(MOST_UNANSWERED)]
        with pytest.raises(StateUnavailable, match="Redis is away"):
            await asking.ask("GET", "a")
        await settled()
        await pass_time(RECONNECT_S[-1])
        assert all(isinstance(each.exception(), StateUnavailable) for each in asked)
