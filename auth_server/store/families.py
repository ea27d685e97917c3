"""Families: everything that follows from one authorization. Delete the family's key, and all its tokens are dead.

A family is one hash: the code (by HMAC) and, once redeemed, the current refresh token (by HMAC), each with the grant
sealed under it. Access tokens are keys beside it in the same slot, alive only as long as the family is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from auth_server.crypto import KeyRing, Kind, new_family
from auth_server.models import Grant, dump, load
from auth_server.settings import AuthSettings
from auth_server.store.access import AccessTokens, Issued
from auth_server.store.connection import Connection, ms
from auth_server.store.revocation import Revocation
from auth_server.store.scripts import REDEEM, ROTATE
from switchboard.common.sealing import seal, unseal

Status = Literal["live", "graced", "spent"]


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A genuine code or refresh token, looked at but not yet used."""

    family: str
    mac: str
    status: Status
    grant: Grant | None = None
    successor: dict[str, Any] | None = None
    """The token response that an earlier presentation got, when `graced`."""

    @property
    def live_grant(self) -> Grant:
        """The grant of a token that can still be used."""
        if self.grant is None:
            raise ValueError("only a live code or refresh token can be used")
        return self.grant


class Families:
    """Opens, redeems, rotates and ends families."""

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        settings: AuthSettings,
        revocation: Revocation,
        access: AccessTokens,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._lives = settings.lifetimes
        self._revocation = revocation
        self._access = access
        self._clock = clock

    async def open(self, grant: Grant, client_name: str) -> str:
        """Begin a family with a code; the client's name is for the person's list of what they granted."""
        family = new_family()
        code = self._ring.mint("code", family)
        cuts = await self._revocation.begin(family, grant.who, self._lives.code)
        sealed = self._seal_grant(code, replace(grant, cuts=cuts), family)
        fields = {"code": self._ring.mac("code", code), "code_sealed": sealed, "about": self._about(grant, client_name)}
        async with self._connection.commands() as redis:
            pipe = redis.pipeline(transaction=True)
            pipe.hset(self._family(family), mapping=fields)
            pipe.pexpire(self._family(family), ms(self._lives.code))
            await pipe.execute()
        return code

    def _about(self, grant: Grant, client_name: str) -> str:
        shown = {"client": client_name, "scope": grant.scope, "resource": grant.resource, "created": grant.created}
        return self._ring.seal(json.dumps(shown).encode(), "about")

    async def about(self, family: str) -> dict[str, Any] | None:
        """What a person is shown of a family that is in use."""
        sealed, used = await self._fields(family, "about", "used")
        payload = self._ring.unseal(sealed, "about") if sealed and used else None
        return json.loads(payload) if payload else None

    async def of(self, token: str) -> str | None:
        """The family of any genuine token of ours, whatever has become of it."""
        kinds: tuple[Kind, ...] = ("code", "refresh")
        found = (self._ring.family(kind, token) for kind in kinds)
        return next((family for family in found if family), None) or await self._access.family(token)

    async def find_code(self, code: str) -> PresentedToken | None:
        """A code as it stands; `None` when it is forged, expired, or its family is gone."""
        family = self._ring.family("code", code)
        if family is None:
            return None
        mac, used, sealed = await self._fields(family, "code", "used", "code_sealed")
        if not mac or not self._ring.matches("code", code, mac):
            return None
        if used:
            return PresentedToken(family, mac, "spent")
        grant = self._open_grant(code, sealed, family)
        if grant is None or grant.created + self._lives.code <= self._clock():
            return None
        return PresentedToken(family, mac, "live", grant)

    async def redeem(self, found: PresentedToken, issued: Issued) -> bool:
        """Spend the code for these tokens; `False` when it was spent already, which ends the family."""
        grant = found.live_grant
        lives = self._family_lives(grant, issued)
        await self._revocation.keep(found.family, grant.who, lives)
        keys = [self._family(found.family), self._access.name(issued)]
        status = await self._connection.run_lasting(
            REDEEM,
            keys,
            [found.mac, *self._access.value(issued), *self._refresh_args(issued, grant, found.family), ms(lives)],
        )
        return bool(status == "redeemed")

    async def find_refresh(self, token: str) -> PresentedToken | None:
        """A refresh token as it stands; `None` when it is forged, expired, or its family is gone."""
        family = self._ring.family("refresh", token)
        if family is None:
            return None
        current, sealed = await self._fields(family, "refresh", "refresh_sealed")
        if not current:
            return None
        if self._ring.matches("refresh", token, current):
            grant = self._open_grant(token, sealed, family)
            return PresentedToken(family, current, "live", grant) if grant else None
        return await self._find_graced(family, token)

    async def _find_graced(self, family: str, token: str) -> PresentedToken:
        macs = self._ring.macs("refresh", token)
        values = await self._connection.pipeline(*(("get", self._grace(family, mac)) for mac in macs))
        for mac, value in zip(macs, values, strict=True):
            graced = self._graced(family, mac, token, value) if value else None
            if graced:
                return graced
        return PresentedToken(family, macs[0], "spent")

    def _graced(self, family: str, mac: str, token: str, value: str) -> PresentedToken | None:
        payload = unseal(token, value, f"grace {family}")
        if payload is None:
            return None
        kept = json.loads(payload)
        if kept["until"] <= self._clock():
            return None
        return PresentedToken(family, mac, "graced", load(Grant, json.dumps(kept["grant"])), kept["response"])

    async def rotate(self, found: PresentedToken, token: str, issued: Issued) -> PresentedToken | None:
        """Replace a refresh token by its successor.

        Returns:
            `live` with this call's response as the successor; `graced` with another call's, when that one was a moment
            earlier; `None` when the family is gone, or ended now because the token was a replay.
        """
        grant = found.live_grant
        lives = self._family_lives(grant, issued)
        await self._revocation.keep(found.family, grant.who, lives)
        access = self._access.name(issued)
        keys = [self._family(found.family), self._grace(found.family, found.mac), access]
        access_value, access_ms = self._access.value(issued)
        next_mac, next_value = self._refresh_args(issued, grant, found.family)
        successor = self._seal_successor(found.family, token, grant, issued)
        args: list[str | int] = [found.mac, next_mac, next_value, successor, ms(self._lives.grace)]
        status = await self._connection.run_lasting(ROTATE, keys, [*args, access_value, access_ms, ms(lives)])
        if status[0] == "rotated":
            return replace(found, successor={**issued.response, "at": self._clock()})
        return self._graced(found.family, found.mac, token, status[1]) if status[0] == "graced" else None

    def _seal_successor(self, family: str, token: str, grant: Grant, issued: Issued) -> str:
        kept = {
            "until": self._clock() + self._lives.grace,
            "grant": json.loads(dump(grant)),
            "response": {**issued.response, "at": self._clock()},
        }
        return seal(token, json.dumps(kept).encode(), f"grace {family}")

    async def revoke(self, family: str) -> None:
        """End a family: its code, its refresh token and every access token."""
        async with self._connection.commands() as redis:
            await redis.delete(self._family(family))
        await self._connection.hold(self._family(family))

    async def _fields(self, family: str, *names: str) -> list[Any]:
        async with self._connection.commands() as redis:
            return list(await redis.hmget(self._family(family), list(names)))

    def _family_lives(self, grant: Grant, issued: Issued) -> float:
        if issued.refresh is None:
            return self._lives.access
        left = grant.created + self._lives.family - self._clock()
        return max(min(self._lives.refresh, left), 0.001)

    def _refresh_args(self, issued: Issued, grant: Grant, family: str) -> tuple[str, str]:
        if issued.refresh is None:
            return "", ""
        return self._ring.mac("refresh", issued.refresh), self._seal_grant(issued.refresh, grant, family)

    @staticmethod
    def _seal_grant(token: str, grant: Grant, family: str) -> str:
        return seal(token, dump(grant), f"grant {family}")

    @staticmethod
    def _open_grant(token: str, sealed: str | None, family: str) -> Grant | None:
        payload = unseal(token, sealed, f"grant {family}") if sealed else None
        return load(Grant, payload) if payload else None

    def _family(self, family: str) -> str:
        return self._connection.keys.name("family", family=family)

    def _grace(self, family: str, mac: str) -> str:
        return self._connection.keys.name("grace", family=family, mac=mac)
