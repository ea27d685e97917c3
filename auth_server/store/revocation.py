"""Ending authorizations: of a user, of a client, or all; at once, on every worker.

A family is listed in an index before it exists, and remembers the marks ("cuts") that stood when it began. To revoke is
to set a new mark and then delete every listed family. A family written while that happened carries the old mark, and
is refused when its code is redeemed or its token refreshed. So nothing slips through, and no clock is compared. A token
that was exchanged is listed beside families, under the clients that exchanged it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Literal

from auth_server.crypto import KeyRing
from auth_server.models import GrantOwner
from auth_server.settings import AuthSettings
from auth_server.store.connection import Connection, ms

By = Literal["user", "client", "alias", "all"]
Axes = Sequence[tuple[By, str]]
_TOKEN = "/"  # noqa: S105 - stands between a family and the HMAC of one of its tokens, in a list of what can be revoked
_SEEN_AT_ONCE = 500


class Revocation:
    """Keeps the indexes and the marks."""

    def __init__(
        self, connection: Connection, ring: KeyRing, settings: AuthSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._clock = clock
        self._longest = settings.lifetimes.family

    async def begin(self, family: str, who: GrantOwner, lives: float) -> tuple[str, ...]:
        """List a family that is about to be written; the marks it has to remember."""
        cuts = await self.cuts(who)
        await self.keep(family, who, lives)
        return cuts

    async def begin_token(self, family: str, mac: str, clients: Sequence[str], lives: float) -> tuple[str, ...]:
        """List one access token of a family, by the clients that have a part in it and not in the family."""
        cuts = await self._marks(_of(clients))
        await self._list(f"{family}{_TOKEN}{mac}", _of(clients), lives)
        return cuts

    async def clients_stand(self, clients: Sequence[str], remembered: Sequence[str]) -> bool:
        """As `stands`, for the clients that have a part in a token."""
        return set(await self._marks(_of(clients))) <= set(remembered)

    async def keep(self, family: str, who: GrantOwner, lives: float) -> None:
        """List a family (again), for `lives` seconds more."""
        await self._list(family, _axes(who), lives)

    async def _list(self, member: str, axes: Axes, lives: float) -> None:
        now = self._clock()
        async with self._connection.commands() as redis:
            pipe = redis.pipeline(transaction=False)
            for by, value in axes:
                name = self._names("index", by, value)[0]
                pipe.zremrangebyscore(name, "-inf", now)
                pipe.zadd(name, {member: now + lives}, gt=True)
                pipe.pexpire(name, ms(self._longest))
            await pipe.execute()

    async def cuts(self, who: GrantOwner) -> tuple[str, ...]:
        """The marks that stand now."""
        return await self._marks(_axes(who))

    async def _marks(self, axes: Axes) -> tuple[str, ...]:
        names = [name for by, value in axes for name in self._names("cut", by, value)]
        return tuple(mark for mark in await self._connection.pipeline(*(("get", name) for name in names)) if mark)

    async def stands(self, who: GrantOwner, remembered: Sequence[str]) -> bool:
        """Whether no mark was set since `remembered`."""
        return set(await self.cuts(who)) <= set(remembered)

    async def families(self, by: By, value: str = "") -> list[str]:
        """The families of a user or client, or all."""
        found: dict[str, None] = {}  # in order, and once though a key rotation listed it under two names
        async with self._connection.commands() as redis:
            for name in self._names("index", by, value):
                found |= dict.fromkeys(await redis.zrangebyscore(name, self._clock(), "+inf"))
        return list(found)

    async def revoke(self, by: By, value: str = "", *, remembered: float | None = None) -> int:
        """End every authorization of a user or client, or all of them; how many there were.

        The mark is remembered for as long as an authorization may live, or for `remembered` seconds.
        """
        cut = self._names("cut", by, value)[0]
        async with self._connection.commands() as redis:
            await redis.set(cut, secrets.token_urlsafe(9), px=ms(self._longest if remembered is None else remembered))
        await self._connection.hold(cut)
        listed = await self.families(by, value)
        for start in range(0, len(listed), _SEEN_AT_ONCE):
            batch = listed[start : start + _SEEN_AT_ONCE]
            await self._connection.pipeline(*(("delete", self._key(member)) for member in batch))
            await self._connection.hold(self._key(batch[-1]))
        return len(listed)

    def _key(self, member: str) -> str:
        family, token, mac = member.partition(_TOKEN)
        keys = self._connection.keys
        return keys.name("access", family=family, mac=mac) if token else keys.name("family", family=family)

    def _names(self, row: str, by: str, value: str) -> list[str]:
        return [self._connection.keys.name(row, by=by, mac=mac) for mac in self._ring.macs(f"index {by}", value)]


def _of(clients: Sequence[str]) -> Axes:
    return [("client", client) for client in dict.fromkeys(clients)]


def _axes(who: GrantOwner) -> Axes:
    aliases: tuple[tuple[By, str], ...] = tuple(("alias", alias) for alias in who.aliases)
    return (("user", who.subject), ("client", who.client_id), ("all", ""), *aliases)
