"""Clients of an issuer: one that registers, has a person sign in, redeems and refreshes; and what the SDK's keeps."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from tools.fleet.person import Person

CALLBACK = "http://127.0.0.1:53683/callback"
"""Never listened on: the redirect that carries the code is read, not followed."""


@dataclass
class PublicClient:
    """One registration; every sign-in has a verifier of its own."""

    http: httpx2.AsyncClient
    issuer: str
    resource: str
    id: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @classmethod
    async def registered(cls, http: httpx2.AsyncClient, issuer: str, resource: str, **metadata: Any) -> PublicClient:
        """A client that the issuer has just got to know."""
        plain = {
            "client_name": "probe",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }
        answer = (await http.post(f"{issuer}/register", json=plain | metadata)).raise_for_status()
        return cls(http, issuer, resource, answer.json()["client_id"])

    def question(self, **changes: str) -> str:
        """The address that it sends a browser to."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": secrets.token_urlsafe(16),
            "resource": self.resource,
        }
        return f"{self.issuer}/authorize?{urlencode(asked | changes)}"

    async def sign_in(self, user: str = "alice", **changes: str) -> dict[str, Any]:
        """The tokens that a person's consent gives."""
        async with Person(user) as person:
            code = await person.code(self.question(**changes))
        answer = await self.token(grant_type="authorization_code", code=code, code_verifier=self.verifier)
        tokens: dict[str, Any] = answer.raise_for_status().json()
        return tokens

    async def token(self, **sent: str) -> httpx2.Response:
        """A token request in its name."""
        return await self.http.post(f"{self.issuer}/token", data={"client_id": self.id, **sent})

    async def refresh(self, tokens: dict[str, Any]) -> httpx2.Response:
        """The next tokens of the same consent."""
        return await self.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])


@dataclass
class MemoryTokenStorage:
    """What the SDK's OAuth client keeps of a server, in memory: satisfies its `TokenStorage`."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep tokens."""
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """The registration."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep a registration."""
        self.client = client_info
