"""What is said about an issuer that cannot serve MCP clients directly."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.external_issuer import shortcomings

GOOD: dict[str, Any] = {
    "authorization_endpoint": "https://sso.example/a",
    "token_endpoint": "https://sso.example/t",
    "jwks_uri": "https://sso.example/j",
    "registration_endpoint": "https://sso.example/r",
    "code_challenge_methods_supported": ["S256"],
}


def test_an_issuer_that_has_everything_has_no_shortcomings() -> None:
    assert shortcomings(GOOD, introspecting=False) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code_challenge_methods_supported": None}, "S256"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
        ({"registration_endpoint": None}, "registration"),
        ({"jwks_uri": None}, "jwks_uri"),
        ({"token_endpoint": None}, "token_endpoint"),
    ],
)
def test_what_is_missing_is_said(changes: dict[str, Any], said: str) -> None:
    (line,) = shortcomings(GOOD | changes, introspecting=False)

    assert said in line


def test_client_metadata_documents_do_instead_of_registration() -> None:
    metadata = GOOD | {"registration_endpoint": None, "client_id_metadata_document_supported": True}

    assert shortcomings(metadata, introspecting=False) == []


def test_asking_needs_an_introspection_endpoint() -> None:
    assert "introspection_endpoint" in shortcomings(GOOD, introspecting=True)[0]
