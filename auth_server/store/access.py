"""Access tokens as they are stored: claims sealed under the token, beside the family that keeps them alive."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from auth_server.crypto import KeyRing
from auth_server.models import GrantOwner
from auth_server.store.connection import Connection, ms
from auth_server.store.revocation import Revocation
from auth_server.store.scripts import ATTACH, ISSUE
from switchboard.common.sealing import seal, unseal

FamilyOf = Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Issued:
    """New tokens, not yet stored; they count once the store has said so."""

    family: str
    access: str = field(repr=False)
    claims: dict[str, Any]
    refresh: str | None = field(repr=False)
    response: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class GoodToken:
    """An access token as it was found."""

    family: str
    claims: dict[str, Any]
    keys: tuple[str, ...]
    """Its family and the token itself, which live in one slot of a Cluster: it is good while both are there and `exp`
    has not come. Empty for a token that may be good no longer although they are: a JWT, whose key may be withdrawn."""


class AccessTokens:
    """Keeps, reads and ends access tokens.

    Args:
        family_of: the family of a genuine token.
        lasting: whether a token that was genuine once always is.
    """

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        revocation: Revocation,
        family_of: FamilyOf,
        lasting: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lasting = lasting
        self._connection = connection
        self._ring = ring
        self._revocation = revocation
        self._family_of = family_of
        self._clock = clock

    def name(self, issued: Issued) -> str:
        """Where a new token goes."""
        return self._name(issued.family, self._ring.mac("access", issued.access))

    def value(self, issued: Issued) -> tuple[str, int]:
        """What is written there, and for how many milliseconds."""
        sealed = seal(issued.access, json.dumps(issued.claims).encode(), f"access {issued.family}")
        return sealed, ms(issued.claims["exp"] - self._clock())

    async def issue(self, issued: Issued) -> bool:
        """Store a token of a new family that has nothing else: no code led to it, nothing refreshes it.

        Returns:
            `False`, and the token is dead, when its subject or client was revoked meanwhile.
        """
        value, lives = self.value(issued)
        who = GrantOwner(issued.claims["sub"], issued.claims["client_id"])
        cuts = await self._revocation.begin(issued.family, who, lives / 1000)
        await self._connection.run_lasting(ISSUE, [self._family(issued.family), self.name(issued)], [value, lives])
        # Nothing looks at the marks later, as redeeming and refreshing do.
        if await self._revocation.stands(who, cuts):
            return True
        await self._connection.pipeline(("delete", self._family(issued.family)))
        return False

    async def attach(self, issued: Issued, clients: Sequence[str] = ()) -> bool:
        """Store one more token of a living family, to die with it, or when one of `clients` is revoked.

        Returns:
            `False`, and the token is dead, when the family is gone or a client was revoked meanwhile.
        """
        value, lives = self.value(issued)
        mac = self._ring.mac("access", issued.access)
        cuts = await self._revocation.begin_token(issued.family, mac, clients, lives / 1000)
        keys = [self._family(issued.family), self.name(issued)]
        if not await self._connection.run_lasting(ATTACH, keys, [value, lives]):
            return False
        if await self._revocation.clients_stand(clients, cuts):
            return True
        await self._connection.pipeline(("delete", self.name(issued)))
        return False

    async def family(self, token: str) -> str | None:
        """The family of a genuine access token, whatever has become of it."""
        return await self._family_of(token)

    async def find(self, token: str) -> GoodToken | None:
        """A good token; `None` when it is not (any longer) good."""
        family = await self._family_of(token)
        if family is None:
            return None
        names = [self._name(family, mac) for mac in self._ring.macs("access", token)]
        alive, *values = await self._connection.look(
            ("EXISTS", self._family(family)), *(("GET", name) for name in names)
        )
        name, value = next(((name, value) for name, value in zip(names, values, strict=True) if value), ("", None))
        payload = unseal(token, value, f"access {family}") if alive and value else None
        if payload is None:
            return None
        claims: dict[str, Any] = json.loads(payload)
        if claims["exp"] <= self._clock():
            return None
        return GoodToken(family, claims, (self._family(family), name) if self._lasting(token) else ())

    def has(self, keys: tuple[str, ...]) -> Awaitable[bool]:
        """Whether what `GoodToken.keys` names is still there; asked at once."""
        return self._connection.has(keys)

    async def claims(self, token: str) -> dict[str, Any] | None:
        """What a good token says."""
        found = await self.find(token)
        return found.claims if found else None

    async def revoke(self, token: str) -> None:
        """End one access token."""
        family = await self._family_of(token)
        if family is None:
            return
        names = [self._name(family, mac) for mac in self._ring.macs("access", token)]
        await self._connection.pipeline(*(("delete", name) for name in names))
        await self._connection.hold(names[0])

    def _family(self, family: str) -> str:
        return self._connection.keys.name("family", family=family)

    def _name(self, family: str, mac: str) -> str:
        return self._connection.keys.name("access", family=family, mac=mac)
