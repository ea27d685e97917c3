"""Background tasks, and waiting with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final

GRAIN_S: Final = 0.01
"""How often `Overdue` looks at most."""

Start = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
"""Runs one more coroutine in the background."""


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises an error of its body as it is. What its tasks raise is raised in an `ExceptionGroup`."""
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            try:
                yield group
            except Exception as error:
                failure = error
                raise
    except BaseExceptionGroup as raised:
        if raised.exceptions != (failure,):
            raise
    if failure is not None:
        raise failure


@asynccontextmanager
async def background(*coroutines: Coroutine[Any, Any, Any]) -> AsyncIterator[Start]:
    """Run coroutines beside the body of the context; when the body ends, cancel what still runs, and wait for it.

    Gives what starts more of them. When one raises, the body is cancelled. Errors are raised as by `task_group`.
    """
    running: set[asyncio.Task[Any]] = set()
    async with task_group() as group:

        def start(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            task = group.create_task(coroutine)
            running.add(task)
            task.add_done_callback(running.discard)
            return task

        for coroutine in coroutines:
            start(coroutine)
        try:
            yield start
        finally:
            for task in running:
                if not task.cancelling():  # what ends already may be cleaning up
                    task.cancel()


class Overdue:
    """Calls what is still there so many seconds after it was added. One timer for all: most are gone by then.

    Args:
        after: seconds; a call comes `GRAIN_S` later at most.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._added: dict[Callable[[], None], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._context = Context()  # not that of whoever is added first

    def add(self, call: Callable[[], None]) -> None:
        """Have this called, once, unless it is taken away before."""
        loop = asyncio.get_running_loop()
        self._added[call] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._after, self._look, context=self._context)

    def discard(self, call: Callable[[], None]) -> None:
        """Do not call this any more."""
        self._added.pop(call, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer, due = loop.time(), None, []
        for call, added in self._added.items():  # in the order in which they were added
            if added + self._after > now:
                at = max(added + self._after, now + GRAIN_S)
                self._timer = loop.call_at(at, self._look, context=self._context)
                break
            due.append(call)
        for call in due:
            del self._added[call]
            call()


class SmallEvent:
    """`asyncio.Event` where each of thousands of idle streams has one: without a queue, and with a limit to its wait.

    An `asyncio.Event` takes 0.8 KiB, and as much again while somebody waits for it with a limit.
    """

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: tuple[asyncio.Future[bool], ...] = ()

    def is_set(self) -> bool:
        """Whether it was set, and not cleared since."""
        return self._set

    def set(self) -> None:
        """Wake whoever waits, and let nobody wait until it is cleared."""
        self._set = True
        for waiter in self._waiting:
            _wake(waiter)

    def clear(self) -> None:
        """Let whoever comes from now on wait."""
        self._set = False

    async def wait(self, seconds: float) -> bool:
        """Wait until it is set, for so many seconds at most; whether it was set meanwhile."""
        if self._set:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiting = (*self._waiting, waiter)
        limit = loop.call_later(seconds, _wake, waiter, False)
        try:
            return await waiter
        finally:
            limit.cancel()
            self._waiting = tuple(each for each in self._waiting if each is not waiter)


def _wake(waiter: asyncio.Future[bool], found: bool = True) -> None:
    if not waiter.done():
        waiter.set_result(found)


async def wait_for_event(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until the event is set, for so many seconds at most; whether it is. `None` waits without a limit."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return event.is_set()


async def first_of(*awaitables: Awaitable[Any]) -> None:
    """Wait until the first of these ends, and cancel the others; what it raised is raised, unlike what they raise."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()


def is_being_cancelled() -> bool:
    """Whether somebody cancels the current task; else a `CancelledError` in it is that of something it waited for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def first_error(error: BaseException) -> BaseException:
    """The first error in nested exception groups; any other error is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
