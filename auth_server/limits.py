"""Rate limits, counted in Redis for the fleet: so many requests of a kind from one address in a window."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from auth_server.crypto import KeyRing
from auth_server.errors import Refusal
from auth_server.store.connection import Connection

Respond = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in `window` seconds."""

    count: int
    window: int


LIMITS = {
    "register": Limit(300, 3_600),
    "authorize": Limit(300, 60),
    "login": Limit(300, 60),
    "token": Limit(1_200, 60),
    "manage": Limit(300, 60),
}
"""For one address. Generous to offices behind one address, tight for a script."""


class Limits:
    """Counts and refuses."""

    def __init__(
        self, connection: Connection, ring: KeyRing, *, on: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._on = on
        self._clock = clock

    def limited(self, name: str, respond: Respond) -> Respond:
        """`respond`, for as many requests as `LIMITS[name]` lets one address make."""

        async def counted(request: Request) -> Response:
            await self.spend(name, request.client.host if request.client else "")
            return await respond(request)

        return counted

    async def spend(self, name: str, who: str) -> None:
        """Count one request.

        Raises:
            Refusal: 429, with the seconds after which to come back.
        """
        if not self._on:
            return
        limit, now = LIMITS[name], self._clock()
        window = int(now // limit.window)
        key = self._connection.keys.name("count", limit=name, mac=self._ring.mac("address", who), window=str(window))
        seen, _ = await self._connection.pipeline(("incr", key), ("expire", key, str(limit.window)))
        if seen > limit.count:
            wait = int((window + 1) * limit.window - now) + 1
            headers = {"Retry-After": str(wait)}
            raise Refusal("temporarily_unavailable", "too many requests; try again later", 429, headers)
