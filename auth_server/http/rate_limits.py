"""Rate limits, counted in Redis for the fleet, by the table in `quotas`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from auth_server.crypto import KeyRing
from auth_server.errors import InvalidClient, Refusal
from auth_server.fetch.fetcher import source
from auth_server.models import Client
from auth_server.quotas import QUOTAS, Name, Quota
from auth_server.store.connection import Connection
from switchboard.common.networks import UNKNOWN, bucket_of

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
        if not self._on:
            return
        key = self._key(name, who)
        seen, _ = await self._connection.pipeline(("incr", key), ("expire", key, str(self._quotas[name].window)))
        if seen > self._quotas[name].count:
            raise self._refusal(name)

    async def _refuse_guessers(self, where: str) -> None:
        """Refuse an address that sent too many wrong credentials, whatever it sends now."""
        if not self._on:
            return
        (wrong,) = await self._connection.pipeline(("get", self._key("guess", where)))
        if int(wrong or 0) >= self._quotas["guess"].count:
            raise self._refusal("guess")

    def _key(self, name: Name, who: str) -> str:
        window = str(int(self._clock() // self._quotas[name].window))
        mac = self._ring.mac("address", who)
        return self._connection.keys.name("count", limit=name.replace(" ", "-"), mac=mac, window=window)

    def _refusal(self, name: Name) -> Refusal:
        window = self._quotas[name].window
        wait = {"Retry-After": str(int(window - self._clock() % window) + 1)}
        return Refusal("temporarily_unavailable", "too many requests; try again later", 429, wait)


def _address(request: Request) -> str:
    return bucket_of(request.client.host) if request.client else UNKNOWN
