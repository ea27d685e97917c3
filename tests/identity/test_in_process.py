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
        self.asked.append(f"find {token}")
        self._answer()
        claims = self.tokens.get(token)
        return Found(claims, (token,) if self.keys else ()) if claims else None

    def has(self, keys: tuple[str, ...]) -> Awaitable[bool]:
        self.asked.append(f"has {keys[0]}")
        return self._have(keys)

    async def _have(self, keys: tuple[str, ...]) -> bool:
        self._answer()
        return keys[0] in self.tokens

    def _answer(self) -> None:
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
    store.away = True
    with pytest.raises(AuthorizationUnavailable):
        await asked.verify("good")
    store.away = False
    assert await asked.verify("good") is not None
    assert store.asked == ["find good", "find good", "has good", "has good"]


async def test_a_token_that_was_good_before_is_asked_about_at_once_and_read_once() -> None:
    store = Store(good=CLAIMS)
    seen = verifier(store)
    first = await seen.verify("good")
    verdict = seen.verify("good")
    assert store.asked == ["find good", "has good"]
    assert await verdict is first


async def test_a_token_that_is_gone_is_forgotten_and_looked_for_again() -> None:
    store = Store(good=CLAIMS)
    seen = verifier(store)
    await seen.verify("good")
    claims = store.tokens.pop("good")
    assert await seen.verify("good") is None
    assert store.asked == ["find good", "has good", "find good"]
    store.tokens["good"] = dict(claims) | {"sub": "bob"}
    principal = await seen.verify("good")
    assert principal is not None
    assert principal.subject == "bob"


async def test_a_token_expires_by_the_clock_though_the_store_still_has_it() -> None:
    now = 1000.0
    store = Store(good={**CLAIMS, "exp": 1010})
    seen = verifier(store, clock=lambda: now)
    assert await seen.verify("good") is not None
    now = 1009.9
    assert await seen.verify("good") is not None
    now = 1010.0
    assert await seen.verify("good") is None


async def test_a_token_whose_keys_do_not_tell_is_read_each_time() -> None:
    store = Store(good=CLAIMS)
    store.keys = False
    seen = verifier(store)
    for _ in range(3):
        assert await seen.verify("good") is not None
    assert store.asked == ["find good"] * 3


async def test_of_many_tokens_the_ones_used_last_are_kept() -> None:
    store = Store(a=CLAIMS, b=CLAIMS, c=CLAIMS)
    seen = verifier(store, cache_size=2)
    for token in ("a", "b", "a", "c", "a", "b"):
        assert await seen.verify(token) is not None
    assert store.asked == ["find a", "find b", "has a", "find c", "has a", "find b"]


async def test_what_is_kept_gives_no_token_away() -> None:
    store = Store(**{"a-token-that-is-kept": CLAIMS})
    seen = verifier(store)
    await seen.verify("a-token-that-is-kept")
    [name] = vars(vars(seen)["_kept"])["_values"]
    assert "a-token" not in name
