"""Cancellations that meet the end of a command, whoever asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from switchboard.state.redis_compat import heeding


class Waiting:
    """A connection that waits for its server as redis-py does."""

    is_connected = True

    def __init__(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()

    async def send_packed_command(self) -> None:
        await asyncio.wait_for(self.answered, 60)

    async def read_response(self) -> Any:
        return await asyncio.wait_for(self.answered, 60)

    async def disconnect(self, nowait: bool) -> None:
        return

    def answer_and(self, cancel: Callable[[], object]) -> None:
        """In one turn of the event loop, so that `wait_for` finds both."""

        def both() -> None:
            self.answered.set_result("answer")
            cancel()

        asyncio.get_running_loop().call_soon(both)


Command = Callable[[Any], Awaitable[Any]]
COMMANDS: list[Command] = [lambda it: it.send_packed_command(), lambda it: it.read_response()]


@pytest.mark.parametrize("command", COMMANDS, ids=["sending", "reading"])
async def test_a_scope_that_is_cancelled_as_a_command_ends_takes_it_for_its_own_end(command: Command) -> None:
    connection = heeding(Waiting)()
    with anyio.CancelScope() as scope:
        connection.answer_and(scope.cancel)
        await command(connection)
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("command", COMMANDS, ids=["sending", "reading"])
async def test_a_task_group_goes_on_when_one_of_its_scopes_is_cancelled_as_a_command_ends(command: Command) -> None:
    connection, scope, went_on = heeding(Waiting)(), anyio.CancelScope(), anyio.Event()

    async def asked() -> None:
        with scope:
            connection.answer_and(scope.cancel)
            await command(connection)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asked)
        await connection.answered
        await anyio.sleep(0.01)
        went_on.set()
    assert went_on.is_set()


@pytest.mark.parametrize("command", COMMANDS, ids=["sending", "reading"])
async def test_a_task_that_is_cancelled_as_a_command_ends_ends(command: Command) -> None:
    connection = heeding(Waiting)()

    async def asked() -> None:
        await command(connection)

    task = asyncio.create_task(asked())
    await asyncio.sleep(0)
    connection.answer_and(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
