"""Verifying beside the authorization server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.identity import InProcessVerifier

CLAIMS = {"iss": "http://localhost", "sub": "alice", "aud": "http://localhost/mcp", "client_id": "c", "scope": "mcp"}


async def test_claims_for_this_resource_are_a_principal_and_for_another_nobody() -> None:
    """AUTH.md row 4."""

    async def introspect(token: str) -> Mapping[str, Any] | None:
        return CLAIMS if token == "good" else None

    here = InProcessVerifier(introspect, issuer="http://localhost", resource="http://localhost/mcp")
    elsewhere = InProcessVerifier(introspect, issuer="http://localhost", resource="http://localhost/other")

    principal = await here.verify("good")
    assert principal is not None
    assert principal.subject == "alice"
    assert await here.verify("bad") is None
    assert await elsewhere.verify("good") is None


async def test_a_store_that_is_away_is_unavailable_and_not_a_refusal() -> None:
    """AUTH.md row 6."""

    async def introspect(_token: str) -> Mapping[str, Any] | None:
        raise StateUnavailable("Redis is away")

    verifier = InProcessVerifier(introspect, issuer="http://localhost", resource="http://localhost/mcp")
    with pytest.raises(AuthorizationUnavailable):
        await verifier.verify("any")
