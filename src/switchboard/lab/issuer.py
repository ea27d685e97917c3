"""The authorization server of each scenario: right, but for what its behaviour says.

RFC 8414 metadata, RFC 7591 registration, the authorization code grant with PKCE (RFC 7636), refresh with rotation
(RFC 6749 §6, RFC 9700 §4.14), `resource` (RFC 8707), `iss` in the callback (RFC 9207). It signs nobody in: whoever is
at the page is the one tester there is, and allows or denies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from switchboard.lab.addresses import Address, Addresses
from switchboard.lab.scenarios import Behaviour
from switchboard.lab.tokens import CLIENT_S, CODE_S, REFRESH_S, Tokens

NO_STORE: Final = {"Cache-Control": "no-store"}
WRONG_ISS: Final = "https://elsewhere.invalid"

Once = Callable[[str], Awaitable[bool]]
"""Marks an identifier as used; whether it was not before."""


class RefusedRequest(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status

    def answer(self) -> Response:
        """As it is sent."""
        said = {"error": self.error, "error_description": self.description}
        return JSONResponse(said, self.status, headers=NO_STORE)


class Unusable(Exception):
    """An authorization request that cannot be answered at its redirect_uri (RFC 6749 §4.1.2.1)."""


class Issuer:
    """Serves what is at an issuer's addresses.

    Args:
        once: for codes and refresh tokens.
        allows: whether a run allows by itself, without a page.
        ask: the page that asks the tester, for a client of this name.
    """

    def __init__(
        self,
        addresses: Addresses,
        tokens: Tokens,
        once: Once,
        allows: Callable[[str], Awaitable[bool]],
        ask: Callable[[str, Address, Mapping[str, str]], Response],
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._once = once
        self._allows = allows
        self._ask = ask

    def metadata(self, address: Address) -> Response:
        """The issuer's metadata."""
        issuer, does = self._issuer(address), address.scenario.behaviour
        document: dict[str, Any] = {
            "issuer": does.issuer or issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["read", "write"],
            "authorization_response_iss_parameter_supported": True,
        }
        if does.s256:
            document["code_challenge_methods_supported"] = ["S256"]
        return JSONResponse(document)

    def register(self, address: Address, body: Mapping[str, Any]) -> Response:
        """RFC 7591: any client, whose id is its registration."""
        redirects = body.get("redirect_uris")
        if not isinstance(redirects, list) or not redirects or not all(isinstance(each, str) for each in redirects):
            return RefusedRequest("invalid_redirect_uri", "redirect_uris is a list of URLs, and not empty").answer()
        name = str(body.get("client_name", ""))[:100]
        kept = {"redirect_uris": redirects[:10], "client_name": name}
        client = self._tokens.make("client", self._issuer(address), CLIENT_S, kept)
        said = {**kept, "client_id": client, "token_endpoint_auth_method": "none"}
        return JSONResponse(said, 201, headers=NO_STORE)

    async def authorize(self, address: Address, sent: Mapping[str, str], *, decided: str = "") -> Response:
        """The authorization endpoint: a page, or the way back once it was decided.

        Args:
            decided: `allow` or `deny`.
        """
        client = self._tokens.read("client", self._issuer(address), sent.get("client_id", ""))
        redirect = sent.get("redirect_uri", "")
        if client is None or not _registered(redirect, client["redirect_uris"]):
            raise Unusable("The client is not registered here, or not with this redirect_uri")
        decided = decided or ("allow" if await self._allows(address.run) else "")
        if not decided:
            return self._ask(str(client.get("client_name") or "A client"), address, sent)
        return RedirectResponse(_with(redirect, self._callback(address, sent, allowed=decided == "allow")), 303)

    async def token(self, address: Address, sent: Mapping[str, str]) -> Response:
        """The token endpoint."""
        try:
            by_grant = {"authorization_code": self._by_code, "refresh_token": self._by_refresh}
            grant = by_grant.get(sent.get("grant_type", ""))
            if grant is None:
                raise RefusedRequest("unsupported_grant_type", "authorization_code or refresh_token")
            scope = await grant(address, sent)
        except RefusedRequest as refused:
            return refused.answer()
        does, issuer = address.scenario.behaviour, self._issuer(address)
        kept = {"scope": scope, "aud": self._addresses.endpoint(address.run, address.scenario.name)}
        said = {
            "access_token": self._tokens.make("access", issuer, does.token_seconds, kept),
            "token_type": "Bearer",
            "expires_in": does.token_seconds,
            "refresh_token": self._tokens.make("refresh", issuer, REFRESH_S, {**kept, "client": sent["client_id"]}),
            "scope": scope,
        }
        return JSONResponse(said, headers=NO_STORE)

    def _callback(self, address: Address, sent: Mapping[str, str], *, allowed: bool) -> dict[str, str]:
        does, issuer = address.scenario.behaviour, self._issuer(address)
        back = {"state": sent["state"]} if "state" in sent else {}
        if does.state == "wrong":
            back["state"] = "not-the-state-that-was-sent"
        if does.iss != "missing":
            back["iss"] = issuer if does.iss == "right" else WRONG_ISS
        if not allowed:
            return {"error": "access_denied", "error_description": "The person said no", **back}
        kept = {name: sent.get(name, "") for name in ("client_id", "redirect_uri", "code_challenge")}
        return {"code": self._tokens.make("code", issuer, CODE_S, {**kept, "scope": _granted(sent, does)}), **back}

    async def _by_code(self, address: Address, sent: Mapping[str, str]) -> str:
        code = self._tokens.read("code", self._issuer(address), sent.get("code", ""))
        if code is None or not await self._once(code["jti"]):
            raise RefusedRequest("invalid_grant", "the code is unknown, over, or was used")
        if any(code[name] != sent.get(name) for name in ("client_id", "redirect_uri")):
            raise RefusedRequest("invalid_grant", "the code is another client's, or of another redirect_uri")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if not hmac.compare_digest(challenge.rstrip(b"="), code["code_challenge"].encode()):
            raise RefusedRequest("invalid_grant", "code_verifier does not fit code_challenge (RFC 7636 §4.6)")
        return str(code["scope"])

    async def _by_refresh(self, address: Address, sent: Mapping[str, str]) -> str:
        kept = self._tokens.read("refresh", self._issuer(address), sent.get("refresh_token", ""))
        if kept is None or kept["client"] != sent.get("client_id") or not await self._once(kept["jti"]):
            raise RefusedRequest("invalid_grant", "the refresh token is unknown, over, used, or another client's")
        return str(kept["scope"])

    def _issuer(self, address: Address) -> str:
        return self._addresses.issuer(address.run, address.scenario.name)


def _registered(redirect: str, registered: list[str]) -> bool:
    """Whether it is one of these; of a loopback address the port may be another (RFC 8252 §7.3)."""
    if redirect in registered:
        return True
    given = urlsplit(redirect)
    if given.scheme != "http" or given.hostname not in ("127.0.0.1", "::1", "localhost"):
        return False
    return any(
        (each.scheme, each.hostname, each.path) == (given.scheme, given.hostname, given.path)
        for each in map(urlsplit, registered)
    )


def _granted(sent: Mapping[str, str], does: Behaviour) -> str:
    asked = sent.get("scope", "read").split()
    return " ".join(scope for scope in dict.fromkeys(asked) if scope in does.granted)


def _with(url: str, params: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    return parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *params.items()])).geturl()
