"""Whether an issuer can serve MCP clients directly, judged by its metadata. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shortcomings(metadata: Mapping[str, Any], *, introspecting: bool) -> list[str]:
    """What is missing for clients to get tokens from this issuer and for us to verify them; a sentence each.

    Args:
        metadata: RFC 8414 or OpenID Connect Discovery.
        introspecting: whether tokens are verified by asking, rather than by the issuer's keys.
    """
    found = []
    if "S256" not in _list(metadata, "code_challenge_methods_supported"):
        found.append("it does not say that it supports PKCE with S256, so MCP clients refuse it")
    if not _can_know_clients(metadata):
        found.append("it has neither a registration endpoint nor client metadata documents: clients need a fixed id")
    needed = "introspection_endpoint" if introspecting else "jwks_uri"
    if not isinstance(metadata.get(needed), str):
        found.append(f"it has no {needed}, so its tokens cannot be verified this way")
    endpoints = ("authorization_endpoint", "token_endpoint")
    return found + [f"it has no {name}" for name in endpoints if not isinstance(metadata.get(name), str)]


def _can_know_clients(metadata: Mapping[str, Any]) -> bool:
    registers = isinstance(metadata.get("registration_endpoint"), str)
    return registers or metadata.get("client_id_metadata_document_supported") is True


def _list(metadata: Mapping[str, Any], name: str) -> list[Any]:
    value = metadata.get(name)
    return value if isinstance(value, list) else []
