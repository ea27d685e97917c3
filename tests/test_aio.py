"""Background tasks and bounded waits: what ends with what, and what is raised."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from switchboard.aio import SmallEvent, background, first_error, first_of, task_group, wait_for_event


class Work:
    """A coroutine that runs until it is told to end, and records how it ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.proceed = asyncio.Event()
        self.ended = ""

    async def run(self, failure: Exception | None = None) -> None:
        """Wait; then return, or raise."""
        self.began.set()
        try:
            await self.proceed.wait()
            if failure is not None:
                raise failure
            self.ended = "returned"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


def others() -> set[asyncio.Task[Any]]:
    """The tasks that run beside this one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_background_work_runs_until_the_body_ends_and_is_waited_for() -> None:
    given, added = Work(), Work()
    async with background(given.run()) as start:
        task = start(added.run())
        await given.began.wait()
        await added.began.wait()
        assert not task.done()
    assert (given.ended, added.ended) == ("cancelled", "cancelled")
    assert not others()


async def test_work_that_has_ended_leaves_the_body_alone() -> None:
    work = Work()
    async with background() as start:
        task = start(work.run())
        work.proceed.set()
        await task
    assert work.ended == "returned"


async def test_the_body_waits_for_what_work_does_when_it_is_cancelled() -> None:
    cleaned = []

    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            cleaned.append(True)

    async with background(clean_up()):
        await asyncio.sleep(0)
    assert cleaned == [True]


async def test_an_error_of_the_body_is_raised_as_it_is_and_ends_the_work() -> None:
    work, error = Work(), ValueError("the body's")

    async def body() -> None:
        async with background(work.run()):
            await work.began.wait()
            raise error

    with pytest.raises(ValueError, match="the body's") as raised:
        await body()
    assert raised.value is error
    assert work.ended == "cancelled"
    assert not others()


async def test_an_error_of_the_work_ends_the_body_and_the_other_work() -> None:
    failing, other, in_body, error = Work(), Work(), Work(), ValueError("the work's")

    async def body() -> None:
        async with background(failing.run(error), other.run()):
            await other.began.wait()
            failing.proceed.set()
            await in_body.run()

    with pytest.raises(ExceptionGroup) as raised:
        await body()
    assert raised.value.exceptions == (error,)
    assert (in_body.ended, other.ended) == ("cancelled", "cancelled")
    assert not others()


async def test_when_body_and_work_both_fail_neither_error_is_lost() -> None:
    async def fails_in_its_cleaning() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError("the work's")

    async def body() -> None:
        async with background(fails_in_its_cleaning()):
            await asyncio.sleep(0)
            raise ValueError("the body's")

    with pytest.raises(ExceptionGroup) as raised:
        await body()
    assert {type(error) for error in raised.value.exceptions} == {ValueError, KeyError}


async def test_a_group_that_the_body_raises_is_not_wrapped_again() -> None:
    error = ExceptionGroup("several", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as raised:
        async with background(Work().run()):
            raise error
    assert raised.value is error


async def test_work_that_was_cancelled_already_can_finish_its_cleaning_up() -> None:
    began, cleaned = asyncio.Event(), []

    async def clean_up() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned.append(True)

    async with background() as start:
        task = start(clean_up())
        await began.wait()
        task.cancel()
        await asyncio.sleep(0)
    assert cleaned == [True]


async def test_a_task_group_waits_for_its_tasks_and_raises_the_error_of_its_body_as_it_is() -> None:
    work, error = Work(), ValueError("the body's")

    async def body(failure: Exception | None = None) -> None:
        async with task_group() as group:
            group.create_task(work.run())
            work.proceed.set()
            if failure is not None:
                raise failure

    await body()
    assert work.ended == "returned"
    with pytest.raises(ValueError, match="the body's") as raised:
        await body(error)
    assert raised.value is error


async def test_cancelling_the_body_is_cancelling_and_ends_the_work() -> None:
    work = Work()

    async def body() -> None:
        async with background(work.run()):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await work.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert work.ended == "cancelled"
    assert not others()


async def test_an_event_that_is_set_in_time_is_told_apart_from_one_that_is_not() -> None:
    event = asyncio.Event()
    assert not await wait_for_event(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 60)
    assert await wait_for_event(event, None)


async def test_an_event_that_is_set_in_the_moment_in_which_time_is_up_is_seen() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 0)


async def test_a_small_event_wakes_all_that_wait_and_lets_nobody_wait_until_it_is_cleared() -> None:
    event = SmallEvent()
    waiting = [asyncio.create_task(event.wait(60)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    event.set()
    assert await asyncio.gather(*waiting[1:]) == [True, True]
    assert waiting[0].cancelled()
    assert event.is_set()
    assert await event.wait(0)
    event.clear()
    assert not event.is_set()
    assert not await event.wait(0)
    asyncio.get_running_loop().call_soon(event.set)
    assert await event.wait(60)


async def test_a_small_event_keeps_nothing_of_those_who_have_waited() -> None:
    event = SmallEvent()
    assert not await event.wait(0)
    task = asyncio.create_task(event.wait(60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert not event._waiting


async def test_waiting_for_an_event_can_be_cancelled() -> None:
    task = asyncio.create_task(wait_for_event(asyncio.Event(), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_first_to_end_ends_the_others() -> None:
    first, second = Work(), Work()
    first.proceed.set()
    await first_of(first.run(), second.run())
    assert (first.ended, second.ended) == ("returned", "cancelled")
    assert not others()


async def test_the_error_of_the_first_to_end_is_raised_after_the_others_have_ended() -> None:
    first, second = Work(), Work()
    first.proceed.set()
    with pytest.raises(ValueError, match="first"):
        await first_of(second.run(), first.run(ValueError("the first's")))
    assert second.ended == "cancelled"


async def test_of_two_that_fail_at_once_the_one_named_first_is_raised() -> None:
    for failures in ([ValueError(), KeyError()], [KeyError(), ValueError()]):
        works = [Work(), Work()]
        for work in works:
            work.proceed.set()
        with pytest.raises(type(failures[0])):
            await first_of(*(work.run(failure) for work, failure in zip(works, failures, strict=True)))


async def test_cancelling_a_wait_for_the_first_ends_them_all() -> None:
    first, second = Work(), Work()
    task = asyncio.create_task(first_of(first.run(), second.run()))
    await second.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (first.ended, second.ended) == ("cancelled", "cancelled")
    assert not others()


def test_the_first_error_is_found_in_groups_of_groups() -> None:
    inner = ValueError()
    assert first_error(ExceptionGroup("", [ExceptionGroup("", [inner, KeyError()])])) is inner
    assert first_error(inner) is inner
