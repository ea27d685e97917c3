"""Connections that never lose a cancellation, and that say so when they were closed.

redis-py (for sending) and fakeredis (for reading) wait with `asyncio.wait_for`. In Python 3.11 that swallows a
cancellation which meets the end of what it waits for (https://github.com/python/cpython/issues/86296, mended in 3.12):
the task goes on as if nothing had been asked of it, and whoever waits for its end waits for ever.

When the nodes of a Cluster have changed, redis-py closes connections that other tasks are using. Those then trip over
whatever is missing (`AttributeError`), or hear of it from the event loop (`RuntimeError`): no error of Redis, so nobody
takes it for what it is, and the task that trips ends its worker.

A cancellation that was swallowed is raised again in the form that whoever asked for it knows: an anyio scope takes only
its own for the end of its block, and lets any other go on to end whatever is around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import anyio.lowlevel
from redis import exceptions
from redis.exceptions import ConnectionError as RedisConnectionError

from switchboard.errors import StateBusy, StateUnavailable


def _asked_to_leave() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def _leave() -> NoReturn:
    """Raise the cancellation that was swallowed: an anyio scope delivers its own again, any other is raised here."""
    await anyio.lowlevel.checkpoint_if_cancelled()
    raise asyncio.CancelledError


class _HeedsCancellation:
    """Put before a connection class: raises what `wait_for` swallowed."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        before = _asked_to_leave()
        await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        if _asked_to_leave() > before:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # its reply will not be read
            await _leave()

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        before = _asked_to_leave()
        response = await super().read_response(*args, **kwargs)  # type: ignore[misc]
        if _asked_to_leave() > before:
            await _leave()
        return response


class _SaysThatItIsClosed:
    """Put before a connection class: whoever used it when another task closed it hears of a lost connection."""

    is_connected: bool

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        with self._explained():
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        with self._explained():
            return await super().read_response(*args, **kwargs)  # type: ignore[misc]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, RuntimeError) as error:
            if self.is_connected:
                raise
            raise RedisConnectionError("The connection was closed while it was in use") from error


def heeding(connection_class: type[Any]) -> type[Any]:
    """The same connection class, with every cancellation heeded and every end told."""
    return type(f"Heeding{connection_class.__name__}", (_HeedsCancellation, _SaysThatItIsClosed, connection_class), {})


AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.RedisClusterException,
)
"""Errors of the server's state, as opposed to those of a wrong command."""


def unavailable(error: Exception, message: str = "") -> StateUnavailable:
    """What to raise for `error`: Redis is away (`message`), or it is there and we ran out of connections to it."""
    if isinstance(error, exceptions.MaxConnectionsError):
        return StateBusy(str(error))
    return StateUnavailable(message or str(error))
