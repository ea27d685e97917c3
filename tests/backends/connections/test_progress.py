"""Progress that comes faster than it is taken: the newest is told, the last always, and in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from switchboard.backends.config import Patience
from switchboard.backends.connections.inflight import PROGRESS_WAITING, Call
from switchboard.backends.connections.notification_order import (
    LOOK_EVERY_S,
    NOTIFICATIONS_WAITING,
    STUCK_LOOKS,
    NotificationOrder,
)
from tests.backends.conftest import Connect, Fleet, Person, Raw
from tools.fleet.workers import offered

MANY = 3_000
"""Thirty times what may wait; `servers/raw.py` reports as often."""


class Gated:
    """A client that takes one thing at a time, once it may. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "modern"
    capabilities: Mapping[str, Any] = {}
    wants_progress = True

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.ready = asyncio.Event()

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        raise AssertionError(method)

    async def notify(self, method: str, params: Any) -> None:
        await self.ready.wait()
        self.told.append(params["data"])

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await self.ready.wait()
        self.told.append(progress)


async def test_of_progress_that_waits_the_newest_is_told_and_the_last_always() -> None:
    client = Gated()
    call = Call(client, 60)
    async with call.clock(), asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(MANY):
            tasks.create_task(call.progress(number, MANY, None))
        while (
            len(asyncio.all_tasks()) > PROGRESS_WAITING + 5
        ):  # those whose progress was replaced have nothing left to do
            await asyncio.sleep(0)
        client.ready.set()
    assert client.told == [*range(PROGRESS_WAITING - 1), MANY - 1]


async def test_all_progress_is_told_that_does_not_come_much_faster_than_it_is_taken() -> None:
    client = Gated()
    call = Call(client, 60)
    async with call.clock(), asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(PROGRESS_WAITING):
            tasks.create_task(call.progress(number, None, None))
        await asyncio.sleep(0)
        client.ready.set()
    assert client.told == list(range(PROGRESS_WAITING))


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_backend_that_reports_three_thousand_times_at_once_is_heard_to_its_last_report(
    raw: Raw, fleet: Fleet, connect: Connect, person: Person, era: str
) -> None:
    [url] = await fleet([raw("own", "busy", patience=Patience(call=300, stop=0.5))])
    async with connect(url, era, person) as client, asyncio.timeout(300):
        await offered(client, "own__misbehave")
        await client.call_tool("own__misbehave", {}, progress_callback=person.progress)
    steps = [progress for progress, _, _ in person.heard]
    assert steps[-1] == MANY - 1
    assert steps == sorted(steps)


async def test_progress_does_not_overtake_what_the_call_said_before_it() -> None:
    client = Gated()
    call = Call(client, 60)
    async with call.clock(), asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        said = {"data": "between"}
        for number in range(PROGRESS_WAITING + 20):
            tasks.create_task(call.progress(number, None, None))
        tasks.create_task(call.notify("notifications/message", said))
        for number in range(MANY, MANY + 30):
            tasks.create_task(call.progress(number, None, None))
        await asyncio.sleep(0)
        client.ready.set()
    assert client.told == [*range(PROGRESS_WAITING - 1), PROGRESS_WAITING + 19, "between", MANY + 29]


async def test_progress_finds_room_where_other_notifications_fill_it() -> None:
    order = NotificationOrder()
    for _ in range(NOTIFICATIONS_WAITING):
        assert order.received()
    assert not order.received()
    assert order.received(7)


async def test_a_result_waits_for_the_progress_of_its_own_call_as_long_as_that_is_taken(pass_time: Any) -> None:
    order, taken = NotificationOrder(), [asyncio.Event() for _ in range(4)]

    async def handle(event: asyncio.Event) -> None:
        async with order.handling():
            await event.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for event in taken:
            assert order.received("mine" if event is not taken[-1] else "another's")
            tasks.create_task(handle(event))
        await asyncio.sleep(0)
        mine, other = (tasks.create_task(order.all_before_now(call)) for call in ("mine", "a third"))
        await pass_time(0)
        assert other.done()
        for event in taken[:2]:
            for _ in range(STUCK_LOOKS - 1):
                await pass_time(LOOK_EVERY_S)
            event.set()
            await pass_time(0)
            assert not mine.done()
        await pass_time(LOOK_EVERY_S * STUCK_LOOKS)
        assert not mine.done(), "the worker may have stood still"
        for _ in range(STUCK_LOOKS):
            await pass_time(LOOK_EVERY_S)
        assert mine.done(), "nothing was taken for a while"
        for event in taken:
            event.set()
