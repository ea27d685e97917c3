"""The clients of a scenario's issuer: who they are, and how they say so at the token endpoint."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.scenarios.model import Clients
from switchboard.lab.tokens import CLIENT_S, Tokens

AUTH: Final = "client_auth"
"""The member that says how a client authenticated: as `token_endpoint_auth_method` has it."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class KnownClients:
    """Makes clients, and finds them again; nothing is kept, for a client's id is its registration."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def register(self, does: Clients, issuer: str, kept: Mapping[str, Any]) -> dict[str, Any]:
        """RFC 7591 §3.2.1, with the one way to authenticate that the scenario has."""
        client = self._tokens.make("client", issuer, CLIENT_S, kept)
        secret = (
            {}
            if does.auth == "none"
            else {"client_secret": self._tokens.secret_of(client), "client_secret_expires_at": 0}
        )
        return {**kept, "client_id": client, "token_endpoint_auth_method": does.auth, **secret}

    def find(self, does: Clients, issuer: str, client: str) -> Mapping[str, Any] | None:
        """What is known of a client: `client_name`, and `redirect_uris` unless any of loopback will do."""
        if does.known == "registered":
            return self._tokens.read("client", issuer, client)
        if does.known == "beforehand":
            return {"client_name": GIVEN_CLIENT} if client == GIVEN_CLIENT else None
        parts = urlsplit(client)
        named = parts.scheme == "https" and parts.hostname and len(parts.path) > 1
        return {"client_name": parts.hostname} if named else None

    def has_authenticated(self, does: Clients, sent: Mapping[str, str]) -> bool:
        """Whether a token request says who it is in the way that the scenario asks for."""
        if does.auth == "none":
            return True
        secret = self._tokens.secret_of(sent.get("client_id", ""))
        return sent.get(AUTH) == does.auth and hmac.compare_digest(
            sent.get("client_secret", "").encode(), secret.encode()
        )


def takes(client: Mapping[str, Any], redirect: str) -> bool:
    """Whether a client may be led back there; of a loopback address the port may be another (RFC 8252 §7.3)."""
    given = urlsplit(redirect)
    loopback = given.scheme == "http" and given.hostname in _LOOPBACK
    if "redirect_uris" not in client:
        return loopback
    registered: list[str] = client["redirect_uris"]
    if redirect in registered:
        return True
    return loopback and any(
        (each.scheme, each.hostname, each.path) == (given.scheme, given.hostname, given.path)
        for each in map(urlsplit, registered)
    )


def client_in(form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """The form of a token request with `client_auth`, and with what the Authorization header says (RFC 6749 §2.3.1)."""
    kind, _, encoded = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return {**form, AUTH: "client_secret_post" if "client_secret" in form else "none"}
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client, secret = "", ""
    given = {"client_id": unquote_plus(client), "client_secret": unquote_plus(secret)}
    return {**form, **given, AUTH: "client_secret_basic"}
