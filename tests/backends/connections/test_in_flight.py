"""Calls in flight on one connection: their clocks, and whose a question is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.backends.connections.inflight import QUESTIONS_PER_CALL, Call, CallOver, InFlight

PATIENCE_S = 10
PassTime = Callable[[float], Awaitable[None]]


class Client:
    """A client that answers when it is let, or never. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "handshake"
    wants_progress = True

    def __init__(self, **capabilities: Any) -> None:
        self.capabilities: Mapping[str, Any] = capabilities
        self.answers = asyncio.Event()

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        await self.answers.wait()
        return {"method": method}

    async def notify(self, method: str, params: Any) -> None:
        """Nothing is kept."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Nothing is kept."""


async def test_the_clock_of_a_call_stands_still_while_its_client_is_asked(pass_time: PassTime) -> None:
    client = Client(elicitation={})
    call = Call(client, PATIENCE_S)
    async with call.clock():
        asking = asyncio.create_task(call.ask("elicitation/create", {}))
        await pass_time(0)
        await pass_time(2 * PATIENCE_S)
        call.alive()  # what the backend says meanwhile does not set it going
        await pass_time(2 * PATIENCE_S)
        client.answers.set()
        assert await asking == {"method": "elicitation/create"}
        await pass_time(PATIENCE_S / 2)


async def test_the_clock_goes_on_after_the_last_answer(pass_time: PassTime) -> None:
    client = Client(elicitation={})
    call = Call(client, PATIENCE_S)
    client.answers.set()

    async def served() -> None:
        async with call.clock():
            await call.ask("elicitation/create", {})
            await pass_time(PATIENCE_S + 1)

    with pytest.raises(TimeoutError):
        await served()


@pytest.mark.parametrize("sign", ["alive", "progress"])
async def test_every_sign_of_life_sets_the_clock_back(pass_time: PassTime, sign: str) -> None:
    call = Call(Client(), PATIENCE_S)
    signs: list[int] = []

    async def served() -> None:
        async with call.clock():
            for number in range(3):
                await pass_time(PATIENCE_S * 0.8)
                await call.progress(number, None, None) if sign == "progress" else call.alive()
                signs.append(number)
            await pass_time(PATIENCE_S * 1.2)

    with pytest.raises(TimeoutError):
        await served()
    assert signs == [0, 1, 2]


async def test_a_call_that_ends_takes_its_open_questions_back() -> None:
    call = Call(Client(elicitation={}), PATIENCE_S)
    async with call.clock():
        asking = asyncio.create_task(call.ask("elicitation/create", {}))
        await asyncio.sleep(0)
    with pytest.raises(CallOver):
        await asking


async def test_a_call_has_only_so_many_open_questions_and_an_answered_one_makes_room() -> None:
    client = Client(elicitation={})
    call = Call(client, PATIENCE_S)
    async with call.clock(), asyncio.TaskGroup() as tasks:
        for _ in range(QUESTIONS_PER_CALL):
            tasks.create_task(call.ask("elicitation/create", {}))
        await asyncio.sleep(0)
        with pytest.raises(MCPError, match=f"{QUESTIONS_PER_CALL} open questions"):
            await call.ask("elicitation/create", {})
        client.answers.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await call.ask("elicitation/create", {}) == {"method": "elicitation/create"}


@asynccontextmanager
async def sent(calls: InFlight, client: Client) -> AsyncIterator[Call]:
    """A call as a connection sends it."""
    async with calls.turn(client, attributed=False):
        call = Call(client, PATIENCE_S)
        with calls.in_flight(call):
            yield call


def asked_by(calls: InFlight, method: str = "elicitation/create") -> Call:
    """Whose a question is that comes on the connection, and not in the course of a call."""
    return Context().run(calls.owner_of_request, method)


async def test_a_question_goes_to_the_only_call_whose_client_can_be_asked_it() -> None:
    calls = InFlight(owned=False)
    async with sent(calls, Client(sampling={})), sent(calls, Client(elicitation={})) as able:
        assert asked_by(calls) is able
        with pytest.raises(MCPError, match="no call in flight whose client could be asked roots/list"):
            asked_by(calls, "roots/list")


async def test_after_a_question_that_could_be_anybodys_calls_whose_clients_can_be_asked_take_turns() -> None:
    calls, able = InFlight(owned=False), Client(elicitation={})
    async with sent(calls, able), sent(calls, able):
        with pytest.raises(MCPError, match="2 calls are in flight"):
            asked_by(calls)
    order: list[str] = []
    leave = asyncio.Event()

    async def held(name: str) -> None:
        async with sent(calls, able) as call:
            order.append(name)
            assert asked_by(calls) is call
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(held("first"))
        tasks.create_task(held("second"))
        async with sent(calls, Client()), calls.turn(able, attributed=True):
            for _ in range(10):
                await asyncio.sleep(0)
            assert (order, len(calls)) == (["first"], 2), "who cannot be asked, or is asked on a stream, does not wait"
        leave.set()
        await first
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("owned", "method"), [(True, "roots/list"), (True, "elicitation/create"), (False, "roots/list")]
)
async def test_of_several_calls_of_one_client_any_may_be_asked_for_its_roots(owned: bool, method: str) -> None:
    calls = InFlight(owned=owned)
    async with sent(calls, Client(roots={}, elicitation={})) as first, sent(calls, Client(roots={}, elicitation={})):
        if owned and method == "roots/list":
            assert asked_by(calls, method) is first
        else:
            with pytest.raises(MCPError, match="it cannot be told which of them asks"):
                asked_by(calls, method)


@pytest.mark.parametrize("owned", [True, False])
async def test_a_notification_that_names_no_call_goes_to_no_strangers_call(owned: bool) -> None:
    calls = InFlight(owned=owned)

    def owner() -> Call | None:
        return Context().run(calls.owner_of_notification)

    assert owner() is None
    async with sent(calls, Client()) as first:
        assert owner() is first
        async with sent(calls, Client()) as second:
            assert owner() is (first if owned else None)
            assert calls.owner_of_notification() is second, "in the course of a call it is that call's"


async def test_whoever_waits_for_the_last_call_hears_of_its_end() -> None:
    calls = InFlight(owned=False)
    async with asyncio.timeout(60):
        await calls.drained()
    async with sent(calls, Client()):
        waiting = asyncio.create_task(calls.drained())
        async with sent(calls, Client()):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(60):
        await waiting
