"""A lab in the test's process, whose time passes when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from starlette.applications import Starlette

from switchboard.lab.opening import OpenLab
from switchboard.state import open_state

BASE = "http://lab.test"
ORIGIN = "http://root.test"
"""The lab's own."""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.patient = True

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        if not self.patient:
            raise httpx2.ReadTimeout("the client does not wait so long")
        self.now += seconds


@asynccontextmanager
async def opened(clock: Clock, origin: str | None = ORIGIN) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_state(None) as state:
        lab = OpenLab(state, "k" * 40, BASE, "0", origin, clock, clock.sleep)
        transport = httpx2.ASGITransport(app=lab.in_front(Starlette(routes=list(lab.routes()))))
        async with lab.running(), httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield client
