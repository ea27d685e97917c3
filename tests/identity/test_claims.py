"""Claims of many shapes, one principal."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.identity import ClaimRules

NOW = 1_800_000_000.0
GOOD = {
    "iss": "https://issuer.example",
    "sub": "alice",
    "aud": "https://mcp.example/mcp",
    "client_id": "app",
    "scope": "mcp admin",
    "exp": NOW + 60,
}
RULES = ClaimRules(issuer="https://issuer.example", audiences={"https://mcp.example/mcp"})


def test_good_claims_become_a_principal() -> None:
    principal = RULES.principal(GOOD, NOW)

    assert principal is not None
    assert principal.owner == '["https://issuer.example","alice","app"]'
    assert principal.scopes == {"mcp", "admin"}
    assert principal.expires_at == NOW + 60


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": ["https://other.example/mcp"]},
        {"aud": []},
        {"aud": None},
        {"aud": {"https://mcp.example/mcp": 1}},
        {"iss": "https://issuer.example/"},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"exp": NOW},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW + 61},
        {"typ": "ID"},
        {"token_use": "id"},
        {"token_type": "refresh_token"},
        {"typ": "Refresh"},
        {"at_hash": "x"},
    ],
)
def test_claims_that_are_not_an_access_token_for_us_are_nobody(changes: dict[str, Any]) -> None:
    """AUTH.md row 4."""
    assert RULES.principal(GOOD | changes, NOW) is None


def test_an_audience_among_several_is_enough() -> None:
    assert RULES.principal(GOOD | {"aud": ["https://other.example", "https://mcp.example/mcp"]}, NOW)


def test_claims_without_an_issuer_are_the_asked_issuers() -> None:
    """RFC 7662 makes `iss` optional in answers; the endpoint that answered is the issuer's."""
    claims = {name: value for name, value in GOOD.items() if name != "iss"}
    principal = RULES.principal(claims, NOW)
    assert principal is not None
    assert principal.issuer == "https://issuer.example"


def test_the_shapes_of_a_corporate_issuer_are_read_as_configured() -> None:
    """AUTH.md row 8: the subject claim is fixed per issuer."""
    rules = ClaimRules(
        issuer="https://sso.example",
        audiences={"0b0c-guid"},
        subject="oid",
        scopes=("scp", "roles"),
        client=("azp",),
        required={"tid": "tenant-1"},
        scope_map={"Mcp.Use": "mcp"},
    )
    claims = {
        "iss": "https://sso.example",
        "sub": "pairwise",
        "oid": "42",
        "aud": "0b0c-guid",
        "azp": "portal",
        "scp": ["Mcp.Use"],
        "roles": "admin",
        "tid": "tenant-1",
        "exp": NOW + 5,
    }

    principal = rules.principal(claims, NOW)

    assert principal is not None
    assert (principal.subject, principal.client_id, sorted(principal.scopes)) == ("42", "portal", ["admin", "mcp"])
    assert rules.principal(claims | {"tid": "tenant-2"}, NOW) is None
