"""What a run consists of: one request that a client made of the lab, and how it was answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Place(StrEnum):
    """What of the lab was asked."""

    MCP = "mcp"
    RESOURCE_METADATA = "resource metadata"
    ISSUER_METADATA = "issuer metadata"
    REGISTER = "register"
    AUTHORIZE = "authorize"
    TOKENS = "token endpoint"
    COMPANY = "identity provider"


@dataclass(frozen=True, slots=True)
class Hop:
    """One request and its answer. Holds no secret: tokens, codes and verifiers stand as fingerprints.

    Args:
        number: its place in the run, from 1.
        sent: parameters of the query or form; for MCP the JSON-RPC `method`, and `token` if one was in the header.
            For the token endpoint also `client_auth`: how the client said who it is. For MCP
            also the `tool` that is called.
        answered: what of the answer the rules look at: members of a JSON document, parameters of a challenge.
    """

    number: int
    place: Place
    status: int
    sent: Mapping[str, str] = field(default_factory=dict)
    answered: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    method: str = ""
    """Of HTTP; empty stands for the one that the place is for."""

    at: float = 0.0
    """When it came, in Unix seconds."""

    party: str = ""
    """Which issuer was asked, where a scenario has more than one; empty for its first."""

    path: str = ""
    """Of the URL that was asked."""
