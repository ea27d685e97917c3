"""Connections that never lose a cancellation.

redis-py (for sending) and fakeredis (for reading) wait with `asyncio.wait_for`. In Python 3.11 that swallows a
cancellation which meets the end of what it waits for (https://github.com/python/cpython/issues/86296, mended in 3.12):
the task goes on as if nothing had been asked of it, and whoever waits for its end waits for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any


def _asked_to_leave() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


class _HeedsCancellation:
    """Put before a connection class: raises what `wait_for` swallowed."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        before = _asked_to_leave()
        await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        if _asked_to_leave() > before:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # its reply will not be read
            raise asyncio.CancelledError

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        before = _asked_to_leave()
        response = await super().read_response(*args, **kwargs)  # type: ignore[misc]
        if _asked_to_leave() > before:
            raise asyncio.CancelledError
        return response


def heeding(connection_class: type[Any]) -> type[Any]:
    """The same connection class, with every cancellation heeded."""
    return type(f"Heeding{connection_class.__name__}", (_HeedsCancellation, connection_class), {})
