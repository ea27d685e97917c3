"""The clients of a scenario's issuer: who they are, and how they say so at the token endpoint."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.scenarios.model import Clients
from switchboard.lab.tokens import CLIENT_S, Tokens

AUTH: Final = "client_auth"
"""The member that says how a client authenticated: as `token_endpoint_auth_method` has it."""

ALGORITHMS: Final = ["ES256", "RS256", "PS256"]
"""By which clients may sign."""

OF_VS_CODE: Final = "https://vscode.dev/redirect"
"""Where VS Code has the browser led back if not to loopback: a page that leads on to the program."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class KnownClients:
    """Makes clients, and finds them again; nothing is kept, for a client's id is its registration."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def register(self, does: Clients, issuer: str, kept: Mapping[str, Any]) -> dict[str, Any]:
        """RFC 7591 §3.2.1, with the one way to authenticate that the scenario has."""
        client = self._tokens.make("client", issuer, CLIENT_S, kept)
        secret: dict[str, Any] = {}
        if does.auth in ("client_secret_basic", "client_secret_post"):
            secret = {"client_secret": self._tokens.secret_of(client), "client_secret_expires_at": 0}
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

    def has_authenticated(self, does: Clients, issuer: str, sent: Mapping[str, str]) -> bool:
        """Whether a token request says who it is in the way that the scenario asks for."""
        if does.auth == "none":
            return True
        if does.auth == "private_key_jwt":
            client = self.find(does, issuer, sent.get("client_id", ""))
            return client is not None and self._has_signed(client, issuer, sent)
        secret = self._tokens.secret_of(sent.get("client_id", ""))
        return sent.get(AUTH) == does.auth and hmac.compare_digest(
            sent.get("client_secret", "").encode(), secret.encode()
        )

    def _has_signed(self, client: Mapping[str, Any], issuer: str, sent: Mapping[str, str]) -> bool:
        """RFC 7523 §3: signed by a key that was registered, by and about the client, for this issuer, and in time."""
        try:
            keys = KeySet.import_key_set(client["jwks"])
            claims = jwt.decode(sent.get("client_assertion", ""), keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return False
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        in_time = isinstance(claims.get("exp"), int | float) and claims["exp"] > self._tokens.now()
        own = claims.get("iss") == claims.get("sub") == sent.get("client_id")
        return bool(own and in_time and {issuer, f"{issuer}/token"} & set(map(str, named)))


def takes(client: Mapping[str, Any], redirect: str) -> bool:
    """Whether a client may be led back there; of a loopback address the port may be another (RFC 8252 §7.3).

    One that registered no redirects may be led to loopback, and to VS Code's page.
    """
    given = urlsplit(redirect)
    loopback = given.scheme == "http" and given.hostname in _LOOPBACK
    if "redirect_uris" not in client:
        return loopback or redirect == OF_VS_CODE
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
    if "client_assertion" in form:
        return {"client_id": _subject(form["client_assertion"]), **form, AUTH: "private_key_jwt"}
    if kind.lower() != "basic":
        return {**form, AUTH: "client_secret_post" if "client_secret" in form else "none"}
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client, secret = "", ""
    given = {"client_id": unquote_plus(client), "client_secret": unquote_plus(secret)}
    return {**form, **given, AUTH: "client_secret_basic"}


def _subject(assertion: str) -> str:
    """Whom an assertion is about, not verified: it names the client where the form does not (RFC 7521 §4.2)."""
    try:
        payload = assertion.split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(said["sub"])
    except (IndexError, ValueError, KeyError, TypeError):
        return ""
