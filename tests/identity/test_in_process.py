"""Verifying beside the authorization server."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.identity import InProcessVerifier

ISSUER = "http://localhost"
RESOURCE = "http://localhost/mcp"
CLAIMS = {"iss": ISSUER, "sub": "alice", "aud": RESOURCE, "client_id": "c", "scope": "mcp"}


@dataclass
class Found:
    claims: Mapping[str, Any]
    keys: tuple[str, ...]


class Store:
    """Tokens by their text; notes what it was asked. Satisfies `TokenStore`."""

    def __init__(self, **tokens: Mapping[str, Any]) -> None:
        self.tokens = dict(tokens)
        self.asked: list[str] = []
        self.away = False
        self.keys = True

    async def find(self, token: str) -> Found | None:
        self._note(f"find {token}")
        claims = self.tokens.get(token)
        return Found(claims, (token,) if self.keys else ()) if claims else None

    def has(self, keys: tuple[str, ...]) -> Awaitable[bool]:
        self._note(f"has {keys[0]}")
        return self._have(keys)

    async def _have(self, keys: tuple[str, ...]) -> bool:
        return keys[0] in self.tokens

    def _note(self, asked: str) -> None:
        self.asked.append(asked)
        if self.away:
            raise StateUnavailable("Redis is away")


def verifier(store: Store, **options: Any) -> InProcessVerifier:
    return InProcessVerifier(store, **({"issuer": ISSUER, "resource": RESOURCE} | options))


async def test_claims_for_this_resource_are_a_principal_and_for_another_nobody() -> None:
    """AUTH.md row 4."""
    store = Store(good=CLAIMS)
    here, elsewhere = verifier(store), verifier(store, resource="http://localhost/other")
    for _ in range(2):
        principal = await here.verify("good")
        assert principal is not None
        assert principal.subject == "alice"
        assert await here.verify("bad") is None
        assert await elsewhere.verify("good") is None


async def test_a_store_that_is_away_is_unavailable_and_not_a_refusal() -> None:
    """AUTH.md row 6."""
    store = Store(good=CLAIMS)
    asked = verifier(store)
    store.away = True
    with pytest.raises(AuthorizationUnavailable):
        await asked.verify("good")
    store.away = False
    assert await asked.verify("good") is not None
