"""The state room's contract runs over `memory://` and over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture(params=["memory://", "redis"])
def state_url(request: pytest.FixtureRequest) -> str | None:
    """What to give to `open_state`: `None` for `memory://`, or the URL of an empty Redis."""
    if request.param == "memory://":
        return None
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def eventually() -> Eventually:
    """Wait until something holds, or fail after five seconds."""

    async def wait(holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(5):
            while not await holds():
                await asyncio.sleep(0.01)

    return wait
