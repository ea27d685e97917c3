"""Rate limits, counted in Redis for the fleet, by the table in `quotas`."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from auth_server.crypto import KeyRing
from auth_server.errors import InvalidClient, Refusal
from auth_server.models import Client
from auth_server.quotas import QUOTAS, Name
from auth_server.store.connection import Connection
from switchboard.common.fetch.fetcher import source
from switchboard.common.networks import UNKNOWN, bucket_of
from switchboard.common.quota import TAKE, Quota

Respond = Callable[[Request], Awaitable[Response]]


class RateLimits:
    """Counts and refuses, by the table."""

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        *,
        on: bool = True,
        quotas: Mapping[Name, Quota] = QUOTAS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._on = on
        self._quotas = quotas
        self._clock = clock

    def limited(self, name: Name, respond: Respond) -> Respond:
        """`respond`, for as many requests as the quota lets one address make; wrong credentials are counted too."""

        async def counted(request: Request) -> Response:
            where = _address(request)
            source.set(where)  # for what is done in the name of this request, which has a context of its own
            await self._spend(name, where)
            await self._refuse_guessers(where)
            try:
                return await respond(request)
            except InvalidClient:
                await self._spend("guess", where)
                raise

        return counted

    async def authenticated(self, client: Client, request: Request) -> None:
        """Count a request of a client that has shown who it is, or of a public one that cannot.

        Raises:
            Refusal: as `_spend`.
        """
        if client.confidential:
            await self._spend("client", client.id)
        else:
            await self.named(client, request)

    async def named(self, client: Client, request: Request) -> None:
        """Count a request that names a client without proof, by client and address."""
        await self._spend("public client", f"{client.id}\0{_address(request)}")

    async def person(self, subject: str) -> None:
        """Count a sign-in of a person, or new tokens in their name."""
        await self._spend("person", subject)

    async def _spend(self, name: Name, who: str) -> None:
        """Count one request.

        Raises:
            Refusal: 429, with the seconds after which to come back.
        """
        await self._take(name, who, 1)

    async def _refuse_guessers(self, where: str) -> None:
        """Refuse an address that sent too many wrong credentials, whatever it sends now."""
        await self._take("guess", where, 0)

    async def _take(self, name: Name, who: str, permits: int) -> None:
        if not self._on:
            return
        key = self._connection.keys.name("rate", limit=name.replace(" ", "-"), mac=self._ring.mac("address", who))
        arguments = self._quotas[name].arguments(permits, 1, self._clock())
        _, wait = await self._connection.run(TAKE, [key], arguments)
        if wait:
            seconds = {"Retry-After": str(math.ceil(wait / 1000))}
            raise Refusal("temporarily_unavailable", "too many requests; try again later", 429, seconds)


def _address(request: Request) -> str:
    return bucket_of(request.client.host) if request.client else UNKNOWN
