"""Any OpenID Connect provider as the upstream: code flow with PKCE, state, nonce and `iss`.

Everything the provider says is checked: issuer, audience, nonce and signature of the ID token, by keys from its own
metadata, with pinned algorithms.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
from starlette.routing import Route

from auth_server.assertions import Assertions
from auth_server.crypto import b64, random_token
from auth_server.jose import InvalidJwt, Verified
from auth_server.jwks import KeySets
from auth_server.settings import OidcUpstream
from auth_server.upstream.seam import Departure, Identity, UpstreamRefusal
from auth_server.upstream.web import Web
from switchboard.errors import AuthorizationUnavailable

KEPT = 3_600.0
SKEW = 60
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


class OpenIdConnect:
    """Signs people in at an OpenID provider."""

    def __init__(
        self,
        settings: OidcUpstream,
        callback: str,
        web: Web,
        key_sets: KeySets,
        assertions: Assertions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._callback = callback
        self._web = web
        self._key_sets = key_sets
        self._assertions = assertions
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._until = 0.0

    async def begin(self, state: str) -> Departure:
        """To the provider."""
        metadata = await self._discovered()
        nonce, verifier = random_token(), random_token()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._callback,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": nonce,
            # Always sent: some providers know PKCE without saying so, and the others ignore it.
            "code_challenge": b64(sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        endpoint = metadata["authorization_endpoint"]
        joint = "&" if "?" in endpoint else "?"
        return Departure(f"{endpoint}{joint}{urlencode(asked)}", {"nonce": nonce, "verifier": verifier})

    async def finish(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> Identity:
        """Who came back."""
        metadata = await self._discovered()
        self._check_issuer(params, metadata)
        if params.get("error"):
            denied = params["error"] == "access_denied"
            raise UpstreamRefusal("access_denied" if denied else "server_error", "the provider refused")
        tokens = await self._tokens(
            {
                "grant_type": "authorization_code",
                "code": params.get("code", ""),
                "redirect_uri": self._callback,
                "code_verifier": kept["verifier"],
            }
        )
        claims = await self._id_token(str(tokens.get("id_token", "")))
        if claims.get("nonce") != kept["nonce"]:
            raise UpstreamRefusal("server_error", "the ID token was not made for this login")
        return self._identity(claims, str(tokens.get("refresh_token") or ""))

    async def renew(self, kept: str) -> Identity:
        """Ask with the provider's refresh token."""
        before = json.loads(kept)
        tokens = await self._tokens({"grant_type": "refresh_token", "refresh_token": before["refresh_token"]})
        refresh = str(tokens.get("refresh_token") or before["refresh_token"])
        # OpenID Connect Core §12.2: a new ID token is optional; without one, what was known still holds.
        claims = await self._id_token(str(tokens["id_token"])) if tokens.get("id_token") else before["claims"]
        return self._identity(before["claims"] | claims, refresh)

    async def logged_out(self, token: str) -> str | None:
        """OpenID Connect Back-Channel Logout §2.6."""
        metadata = await self._discovered()
        issuer, audiences = self._settings.issuer, (self._settings.client_id,)
        found = await self._assertions.by_issuer(token, metadata["jwks_uri"], audiences, issuer)
        if found is None or "nonce" in found.claims or LOGOUT not in (found.claims.get("events") or {}):
            return None
        sid, subject = found.claims.get("sid"), found.claims.get("sub")
        # A session, if it names one; else all of the person's.
        return f"sid {sid}" if sid else f"sub {subject}" if subject else None

    def routes(self) -> list[Route]:
        """None: its pages are elsewhere."""
        return []

    def _check_issuer(self, params: Mapping[str, str], metadata: Mapping[str, Any]) -> None:
        """RFC 9207: whose answer is this?"""
        required = metadata.get("authorization_response_iss_parameter_supported") is True
        if params.get("iss", "" if required else self._settings.issuer) != self._settings.issuer:
            raise UpstreamRefusal("server_error", "the answer came from another issuer")

    async def _tokens(self, form: dict[str, str]) -> dict[str, Any]:
        metadata, settings = await self._discovered(), self._settings
        auth = None
        if "client_secret_basic" in metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            auth = httpx2.BasicAuth(quote_plus(settings.client_id), quote_plus(settings.client_secret))
        else:
            form = form | {"client_id": settings.client_id, "client_secret": settings.client_secret}
        status, tokens = await self._web.post(metadata["token_endpoint"], form, auth)
        if status == 200:
            return tokens
        if tokens.get("error") == "invalid_grant":
            raise UpstreamRefusal("access_denied", "the provider does not take the code or refresh token")
        # Anything else is between the provider and us; nobody is signed out for it.
        raise AuthorizationUnavailable(f"the provider answered {status} at its token endpoint")

    async def _id_token(self, token: str) -> dict[str, Any]:
        metadata = await self._discovered()
        try:
            found = await self._key_sets.verified(token, metadata["jwks_uri"])
        except InvalidJwt as error:
            raise UpstreamRefusal("server_error", "the ID token is not signed by the provider") from error
        if not self._is_for_us(found):
            raise UpstreamRefusal("server_error", "the ID token is not for this server, or not current")
        return found.claims

    def _is_for_us(self, found: Verified) -> bool:
        """OpenID Connect Core §3.1.3.7."""
        claims, now = found.claims, self._clock()
        audience, expires = claims.get("aud"), claims.get("exp")
        named = [audience] if isinstance(audience, str) else audience
        if claims.get("iss") != self._settings.issuer or not isinstance(named, list):
            return False
        if self._settings.client_id not in named or claims.get("azp", self._settings.client_id) not in named:
            return False
        if len(named) > 1 and claims.get("azp") != self._settings.client_id:
            return False
        return isinstance(expires, (int, float)) and expires > now - SKEW

    def _identity(self, claims: Mapping[str, Any], refresh: str) -> Identity:
        subject = claims.get(self._settings.subject_claim)
        if not isinstance(subject, str):
            raise UpstreamRefusal("server_error", "the provider did not say who it is")
        named = ("sub", "sid", "aud", self._settings.subject_claim, self._settings.groups_claim)
        known = {name: claims[name] for name in named if name in claims}
        return Identity(
            subject=subject,
            kept=json.dumps({"refresh_token": refresh, "claims": known}) if refresh else "",
            scopes=self._settings.allowed(claims),
            aliases=tuple(f"{name} {claims[name]}" for name in ("sub", "sid") if claims.get(name)),
        )

    async def _discovered(self) -> dict[str, Any]:
        if self._until <= self._clock():
            await self._discover()
        return self._metadata

    async def _discover(self) -> None:
        try:
            found = await self._web.document(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        except AuthorizationUnavailable:
            if self._metadata:
                return  # an old document is better than none
            raise
        if found.get("issuer") != self._settings.issuer or not all(isinstance(found.get(n), str) for n in _NEEDED):
            raise AuthorizationUnavailable("the provider's metadata is incomplete, or another issuer's")
        self._metadata, self._until = found, self._clock() + KEPT
