"""Records of the fleet that a browser holds the key to: sessions, and connecting that is under way.

Each is known by a random token. The key's name in Redis is a hash of it and the value is sealed under it, so neither
the names nor the values in a dump of Redis let anybody in.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from switchboard.common.sealing import seal, unseal
from switchboard.state import State

Kind = Literal["session", "connect"]


class Records:
    """Puts, reads and takes records. Every method raises `StateUnavailable` while Redis is away."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, kind: Kind, token: str, payload: dict[str, Any], lives: float) -> None:
        """Keep a JSON object for `lives` seconds, in place of what the token had.

        Replicas are waited for as for tokens: who was signed in by one worker is not signed out by a failover.
        """
        name = self._name(kind, token)
        with self._state.guard():
            await self._state.redis.set(name, _sealed(kind, token, payload), px=int(lives * 1000))
        await self._state.replicas.hold(name)

    async def replace(self, kind: Kind, token: str, payload: dict[str, Any]) -> None:
        """Keep another object for what is left of the record's life; nothing when it is over."""
        name = self._name(kind, token)
        with self._state.guard():
            await self._state.redis.set(name, _sealed(kind, token, payload), xx=True, keepttl=True)
        await self._state.replicas.hold(name)

    async def read(self, kind: Kind, token: str) -> dict[str, Any] | None:
        """The object, left where it is."""
        with self._state.guard():
            return _opened(kind, token, await self._state.redis.get(self._name(kind, token)))

    async def take(self, kind: Kind, token: str) -> dict[str, Any] | None:
        """The object, at most once in the whole fleet."""
        with self._state.guard():
            return _opened(kind, token, await self._state.redis.getdel(self._name(kind, token)))

    def _name(self, kind: Kind, token: str) -> str:
        return self._state.keys.account(kind, hashlib.sha256(token.encode()).hexdigest())


def _sealed(kind: Kind, token: str, payload: dict[str, Any]) -> str:
    return seal(token, json.dumps(payload).encode(), kind)


def _opened(kind: Kind, token: str, sealed: object) -> dict[str, Any] | None:
    payload = unseal(token, str(sealed), kind) if sealed else None
    found: dict[str, Any] | None = json.loads(payload) if payload else None
    return found
