"""Calls over a child's pipes: what is written and when, whose each answer is, and the order of what comes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, Implementation

from switchboard.backends.connections.protocol import RpcConnection
from switchboard.backends.transports.child import Child, PipeListener, StderrTail
from switchboard.backends.transports.stdio import SPOKEN_PER_TURN, WAITING, StdioDispatcher


class PipedChild(Child):
    """A child whose pipes are lists."""

    def __init__(self) -> None:
        super().__init__(StderrTail("piped", lambda: False))
        self.written: list[bytes] = []
        self.paused = False
        self.reader: PipeListener

    def listen(self, listener: PipeListener) -> None:
        self.reader = listener

    def write(self, lines: bytes) -> None:
        self.written.append(lines)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def say(self, *said: Mapping[str, Any]) -> None:
        self.reader.received(b"".join(line(each) for each in said))

    @property
    def read(self) -> list[dict[str, Any]]:
        """What it was sent."""
        return [json.loads(each) for each in b"".join(self.written).splitlines()]


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


class Listener:
    """Takes what a child says by itself. Satisfies `protocol.Inbound`."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def on_request(self, method: str, params: Any) -> dict[str, Any]:
        self.asked.set()
        return await asyncio.shield(self.answer)

    async def on_notification(self, method: str, params: Any) -> None:
        self.heard.append(params)

    def on_unreadable(self, error: Exception) -> None:
        self.heard.append(error)


@asynccontextmanager
async def dispatching() -> AsyncIterator[tuple[PipedChild, StdioDispatcher, Listener]]:
    """A dispatcher that runs, and is cancelled at the end."""
    child, listener = PipedChild(), Listener()
    dispatcher = StdioDispatcher(child, 100_000, listener.on_unreadable)

    async def on_request(_: Any, method: str, params: Any) -> dict[str, Any]:
        return await listener.on_request(method, params)

    async def on_notify(_: Any, method: str, params: Any) -> None:
        await listener.on_notification(method, params)

    async with asyncio.timeout(60):
        running = asyncio.create_task(dispatcher.run(on_request, on_notify))
        await asyncio.sleep(0)
        yield child, dispatcher, listener
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def turns(count: int = 3) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def called(dispatcher: StdioDispatcher, number: int, **options: Any) -> asyncio.Task[dict[str, Any]]:
    opts: Any = {"request_id": number, **options}
    return asyncio.create_task(dispatcher.send_raw_request("tools/call", {"name": "a"}, opts))


async def test_what_is_sent_in_one_turn_of_the_loop_goes_out_in_one_write() -> None:
    async with dispatching() as (child, dispatcher, _):
        calls = [called(dispatcher, number) for number in range(1, 51)]
        await turns()
        assert len(child.written) == 1
        assert [each["id"] for each in child.read] == list(range(1, 51))
        child.say(*({"id": number, "result": {"of": number}} for number in range(1, 51)))
        assert [(await each)["of"] for each in calls] == list(range(1, 51))


async def test_a_call_and_its_answer_make_no_task() -> None:
    made: list[Any] = []

    def counting(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async with dispatching() as (child, dispatcher, _):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(counting)
        loop.call_soon(loop.call_soon, lambda: child.say({"id": 1, "result": {"a": 1}}))
        assert await dispatcher.send_raw_request("tools/call", None, {"request_id": 1}) == {"a": 1}
        assert made == []
        child.say({"method": "notifications/message", "params": {}})
        assert len(made) == 1
        loop.set_task_factory(None)


async def test_a_request_whose_caller_leaves_before_it_is_written_is_never_sent() -> None:
    async with dispatching() as (child, dispatcher, _):
        child.writable = False
        left, stays = called(dispatcher, 1), called(dispatcher, 2)
        await turns()
        left.cancel()
        await turns()
        assert child.written == []
        child.resume_writing()
        child.reader.writable()
        assert [(each["id"], each["method"]) for each in child.read] == [(2, "tools/call")]
        child.say({"id": 2, "result": {}})
        assert await stays == {}


async def test_a_child_is_told_once_that_nobody_waits_for_its_answer_any_more() -> None:
    async with dispatching() as (child, dispatcher, _):
        left = called(dispatcher, 1)
        initializing = called(dispatcher, 2, cancel_on_abandon=False)
        answered = called(dispatcher, 3)
        await turns()
        child.say({"id": 3, "result": {}})
        for call in (left, initializing, answered):
            call.cancel()
        await turns()
        assert child.read[3:] == [
            {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": 1, "reason": "caller cancelled"},
            }
        ]
        child.say({"id": 1, "result": {}}, {"id": "2", "result": {}})  # late, and nobody's


async def test_a_request_with_a_time_of_its_own_is_given_up_and_cancelled() -> None:
    async with dispatching() as (child, dispatcher, _):
        with pytest.raises(MCPError) as caught:
            await dispatcher.send_raw_request("server/discover", None, {"request_id": 1, "timeout": 0.001})
        await turns()
        assert caught.value.code == REQUEST_TIMEOUT
        assert child.read[-1]["params"] == {"requestId": 1, "reason": "timed out after 0.001s"}


async def test_an_id_that_is_in_flight_is_not_given_out_again() -> None:
    async with dispatching() as (child, dispatcher, _):
        first = called(dispatcher, 7)
        await turns()
        with pytest.raises(ValueError, match="already in flight"):
            await dispatcher.send_raw_request("ping", None, {"request_id": "7"})
        child.say({"id": "7", "result": {"a": 1}})
        assert await first == {"a": 1}


async def test_a_child_that_does_not_read_what_it_is_answered_does_not_fill_memory() -> None:
    async with dispatching() as (child, dispatcher, listener):
        child.writable = False
        listener.answer.set_result({})
        for first in range(0, 2 * WAITING, 100):
            child.say(*({"id": f"q{number}", "method": "ping"} for number in range(first, first + 100)))
            while child.paused:
                await turns(1)
        await turns()
        assert len(dispatcher._unsent) == WAITING


async def test_a_request_that_the_child_cancels_is_not_answered_and_one_left_open_is_when_the_connection_ends() -> None:
    async with dispatching() as (child, _, listener):
        child.say({"id": 1, "method": "roots/list"}, {"id": 2, "method": "roots/list"})
        await listener.asked.wait()
        child.say({"method": "notifications/cancelled", "params": {"requestId": "1"}})
        await turns()
        assert child.read == []
    assert child.read == [
        {"jsonrpc": "2.0", "id": 2, "error": {"code": CONNECTION_CLOSED, "message": "Connection closed"}}
    ]


async def test_what_was_read_before_the_end_is_taken_before_it_and_open_calls_end_then() -> None:
    async with dispatching() as (child, dispatcher, listener):
        answered, open_call = called(dispatcher, 1), called(dispatcher, 2)
        await turns()
        notes = [{"method": "notifications/message", "params": {"n": n}} for n in range(SPOKEN_PER_TURN * 2 + 1)]
        child.say(*notes, {"id": 1, "result": {"a": 1}})
        assert child.paused
        child.reader.ended()
        assert await answered == {"a": 1}
        with pytest.raises(MCPError, match="Connection closed"):
            await open_call
        assert [each["n"] for each in listener.heard] == list(range(len(notes)))
        with pytest.raises(MCPError, match="Connection closed"):
            await dispatcher.send_raw_request("ping", None)


async def test_the_end_of_a_child_does_not_wait_for_a_client_that_takes_nothing() -> None:
    child, never = PipedChild(), asyncio.Event()
    dispatcher = StdioDispatcher(child, 100_000, Listener().on_unreadable)

    async def stuck(*_: Any) -> Any:
        await never.wait()

    async with asyncio.timeout(60):
        running = asyncio.create_task(dispatcher.run(stuck, stuck))
        await turns(1)
        child.say({"method": "notifications/message"}, {"id": 1, "method": "roots/list"})
        await turns()
        child.reader.ended()
        await running


Cuts = st.lists(st.integers(0, 4000), max_size=12)


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(1, 9)), steps=st.lists(st.integers(0, 30), min_size=8, max_size=8), cuts=Cuts)
def test_answers_in_any_order_and_pieces_reach_their_calls_after_all_that_was_said_before_them(
    order: list[int], steps: list[int], cuts: list[int]
) -> None:
    """Progress of a call, and messages, are with its client before its result is, however many come in one read."""
    asyncio.run(_answered_in(order, steps, cuts))


async def _answered_in(order: list[int], steps: list[int], cuts: list[int]) -> None:
    child, listener = PipedChild(), Listener()
    numbers = iter(range(1, 100))
    rpc = RpcConnection(
        StdioDispatcher(child, 100_000, listener.on_unreadable),
        listener,
        lambda: next(numbers),
        {},
        Implementation(name="a", version="1"),
        lambda: None,
    )
    rpc.version = "2025-11-25"
    said = b""
    for number, count in zip(order, steps, strict=True):
        for step in range(count):
            params = {"progressToken": number, "progress": step}
            said += line({"method": "notifications/progress", "params": params})
        said += line({"method": "notifications/message", "params": {"of": number}})
        said += line({"id": number, "result": {"of": number}})

    async def call(number: int) -> tuple[int, int, list[float]]:
        told: list[float] = []

        async def report(progress: float, total: float | None, message: str | None) -> None:
            await asyncio.sleep(0)
            told.append(progress)

        result = await rpc.request("tools/call", {"name": "a"}, on_progress=report)
        assert {"of": number} in listener.heard
        return number, result["of"], told

    async with asyncio.timeout(60):
        running = asyncio.create_task(rpc.run(_none, _none))
        await asyncio.sleep(0)
        calls = [asyncio.create_task(call(number)) for number in range(1, 9)]
        await turns()
        assert len(child.written) == 1
        edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
        for begin, end in itertools.pairwise(edges):
            child.reader.received(said[begin:end])
            await turns(1)
        for answer in await asyncio.gather(*calls):
            number, of, told = answer
            assert of == number
            assert told == [float(step) for step in range(steps[order.index(number)])]
        assert [each["of"] for each in listener.heard if "of" in each] == order
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _none(*_: Any) -> Any:
    return None
