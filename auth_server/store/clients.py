"""Registered clients: kept 30 days from their last use, and bounded while nobody has signed in for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from auth_server.crypto import KeyRing
from auth_server.models import Client, dump, load
from auth_server.settings import AuthSettings, StaticClient
from auth_server.store.connection import Connection, ms


class OtherClients(Protocol):
    """Clients that did not register here."""

    async def find(self, client_id: str) -> Client | None:
        """The client, if its id is of that kind."""
        ...

    async def keep(self, client: Client) -> None:
        """Keep it for the next time."""
        ...


class Clients:
    """Finds a client by its id: in the settings, then `elsewhere`, then among the registrations."""

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        settings: AuthSettings,
        clock: Callable[[], float] = time.time,
        elsewhere: OtherClients | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._connection = connection
        self._lives = ms(settings.lifetimes.client)
        self._max_unused = settings.max_unused_clients
        self._clock = clock
        self._static = {client.id: _trusted(client, ring) for client in settings.clients}

    async def find(self, client_id: str) -> Client | None:
        """The client, its life renewed; `None` when there is no such client (any more)."""
        if client_id in self._static:
            return self._static[client_id]
        found = await self._elsewhere.find(client_id) if self._elsewhere else None
        return found or await self._registered(client_id)

    async def keep(self, client: Client) -> None:
        """Note that a request really was for this client: it named an address of it, or has shown who it is."""
        if self._elsewhere:
            await self._elsewhere.keep(client)

    async def _registered(self, client_id: str) -> Client | None:
        async with self._connection.commands() as redis:
            found = await redis.getex(self._name(client_id), px=self._lives)
        return load(Client, found) if found else None

    async def add(self, client: Client) -> None:
        """Keep a new registration; beyond the bound, the oldest one that nobody signed in for is deleted."""
        async with self._connection.commands() as redis:
            await redis.set(self._name(client.id), dump(client), px=self._lives)
            await redis.zadd(self._unused, {client.id: self._clock()})
            excess = await redis.zcard(self._unused) - self._max_unused
            for oldest, _ in await redis.zpopmin(self._unused, excess) if excess > 0 else ():
                await redis.delete(self._name(oldest))
        await self._connection.hold(self._name(client.id))

    async def replace(self, client: Client) -> None:
        """Store a changed registration, unless it is gone."""
        async with self._connection.commands() as redis:
            await redis.set(self._name(client.id), dump(client), px=self._lives, xx=True)

    async def used(self, client_id: str) -> None:
        """A person has signed in for it: the registration is no longer among the first to go.

        Not before: consent takes no sign-in, and would keep a registration for its whole life.
        """
        async with self._connection.commands() as redis:
            await redis.zrem(self._unused, client_id)

    async def is_unused(self, client_id: str) -> bool:
        """Whether nobody has ever signed in for a registration."""
        async with self._connection.commands() as redis:
            return await redis.zscore(self._unused, client_id) is not None

    async def remove(self, client_id: str) -> bool:
        """Forget a registration; whether there was one."""
        removed, _ = await self._connection.pipeline(
            ("delete", self._name(client_id)), ("zrem", self._unused, client_id)
        )
        return bool(removed)

    def _name(self, client_id: str) -> str:
        return self._connection.keys.name("client", id=client_id)

    @property
    def _unused(self) -> str:
        return self._connection.keys.name("unused")


def _trusted(client: StaticClient, ring: KeyRing) -> Client:
    method = "client_secret_basic" if client.secret else "private_key_jwt" if client.jwks else "none"
    return Client(
        id=client.id,
        redirect_uris=client.redirect_uris,
        name=client.name or client.id,
        auth_method=method,
        secret_mac=ring.mac("client secret", client.secret) if client.secret else "",
        grant_types=client.grant_types,
        scope=client.scope,
        jwks=client.jwks,
        trusted=True,
    )
