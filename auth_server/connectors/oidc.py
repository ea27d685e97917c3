"""A connector to any OpenID Connect provider: code flow with PKCE, state, nonce and `iss`.

Everything the provider says is checked: issuer, audience, nonce and signature of the ID token, by keys from its own
metadata, with pinned algorithms.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from starlette.routing import Route

from auth_server.connectors.base import LoginRedirect, check_error
from auth_server.connectors.client import ProviderClient, trouble
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.crypto import pkce_challenge, pkce_parameters
from auth_server.errors import ProviderMisconfigured, SignInRefused
from auth_server.jwt.assertions import Assertions
from auth_server.jwt.key_sets import KeySets
from auth_server.models import Identity
from auth_server.settings import OidcSettings
from switchboard.common.discovery import Discovery, OtherIssuer
from switchboard.common.jose import InvalidJwt, Jwt, claim_at
from switchboard.common.sealing import random_token
from switchboard.common.visible_text import excerpt
from switchboard.errors import AuthorizationUnavailable

SKEW = 60
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


class OpenIdConnect:
    """Signs people in at an OpenID provider."""

    def __init__(
        self,
        settings: OidcSettings,
        callback: str,
        web: ProviderHttp,
        discovery: Discovery,
        key_sets: KeySets,
        assertions: Assertions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._callback = callback
        self._discovery = discovery
        self._client = ProviderClient(settings, web, clock)
        self._key_sets = key_sets
        self._assertions = assertions
        self._clock = clock

    async def begin(self, state: str) -> LoginRedirect:
        """To the provider."""
        metadata = await self._discovered()
        nonce, verifier = random_token(), random_token()
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._settings.client_id,
            "code",
            self._callback,
            self._settings.scopes,
            state,
            nonce=nonce,
            # Always sent: some providers know PKCE without saying so, and the others ignore it.
            **pkce_parameters(pkce_challenge(verifier)),
        )
        return LoginRedirect(url, {"nonce": nonce, "verifier": verifier})

    async def finish(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> Identity:
        """Who came back."""
        metadata = await self._discovered()
        self._check_issuer(params, metadata)
        check_error(params, "the provider")
        tokens = await self._tokens(
            {
                "grant_type": "authorization_code",
                "code": params.get("code", ""),
                "redirect_uri": self._callback,
                "code_verifier": kept["verifier"],
            }
        )
        id_token = str(tokens.get("id_token", ""))
        claims = await self._id_token(id_token)
        if claims.get("nonce") != kept["nonce"]:
            raise SignInRefused("server_error", "the ID token was not made for this login")
        return self._identity(claims, str(tokens.get("refresh_token") or ""), id_token)

    async def renew(self, kept: str) -> Identity:
        """Ask with the provider's refresh token."""
        before = json.loads(kept)
        tokens = await self._tokens({"grant_type": "refresh_token", "refresh_token": before["refresh_token"]})
        refresh = str(tokens.get("refresh_token") or before["refresh_token"])
        # OpenID Connect Core §12.2: a new ID token is optional; without one, what was known still holds.
        id_token = str(tokens.get("id_token") or "")
        claims = await self._id_token(id_token) if id_token else before["claims"]
        # By the settings' names: what is nested now must win over what was kept flat before.
        return self._identity(before["claims"] | claims | self._known(claims), refresh, id_token)

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
            found = excerpt(params.get("iss", "none"))
            raise SignInRefused("server_error", f"the answer names the issuer {found}, not {self._settings.issuer}")

    async def _tokens(self, form: dict[str, str]) -> dict[str, Any]:
        answer = await self._client.post(await self._discovered(), form)
        status, tokens = answer
        if status == 200:
            return tokens
        if tokens.get("error") == "invalid_grant":
            raise SignInRefused("access_denied", trouble(answer))
        # Anything else is between the provider and this server, and no reason to sign the person out.
        raise (ProviderMisconfigured if status < 500 else AuthorizationUnavailable)(trouble(answer))

    async def _id_token(self, token: str) -> dict[str, Any]:
        metadata = await self._discovered()
        try:
            found = await self._key_sets.verified(token, metadata["jwks_uri"])
        except InvalidJwt as error:
            raise SignInRefused("server_error", f"the ID token is not signed by the provider: {error}") from error
        wrong = self._unlike_ours(found)
        if wrong:
            said = excerpt(found.claims.get(wrong, "missing"))
            raise SignInRefused(
                "server_error", f"the ID token is not for this server, or not current: {wrong} is {said}"
            )
        return found.claims

    def _unlike_ours(self, found: Jwt) -> str:
        """The claim that is wrong (OpenID Connect Core §3.1.3.7), or nothing."""
        claims, now = found.claims, self._clock()
        audience, expires = claims.get("aud"), claims.get("exp")
        named = [audience] if isinstance(audience, str) else audience
        if claims.get("iss") != self._settings.issuer:
            return "iss"
        if not isinstance(named, list) or self._settings.client_id not in named:
            return "aud"
        if claims.get("azp", self._settings.client_id) not in named:
            return "azp"
        if len(named) > 1 and claims.get("azp") != self._settings.client_id:
            return "azp"
        return "" if isinstance(expires, (int, float)) and expires > now - SKEW else "exp"

    def _identity(self, claims: Mapping[str, Any], refresh: str, id_token: str) -> Identity:
        subject = claim_at(claims, self._settings.subject_claim)
        if not isinstance(subject, str) or not subject:
            raise SignInRefused(
                "server_error", f"the ID token has no text in {self._settings.subject_claim} (UPSTREAM_SUBJECT_CLAIM)"
            )
        known = self._known(claims)
        return Identity(
            subject=subject,
            kept=json.dumps({"refresh_token": refresh, "claims": known}) if refresh else "",
            scopes=self._settings.allowed(claims),
            aliases=tuple(f"{name} {claims[name]}" for name in ("sub", "sid") if claims.get(name)),
            id_token=id_token,
        )

    def _known(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of the claims until the next look, by the names in the settings."""
        named = ("sub", "sid", "aud", self._settings.subject_claim, self._settings.groups_claim)
        found = {name: claim_at(claims, name) for name in named}
        return {name: value for name, value in found.items() if value is not None}

    async def _discovered(self) -> Mapping[str, Any]:
        return await provider_metadata(self._discovery, self._settings.issuer)


def discovery_of(settings: OidcSettings, http: httpx2.AsyncClient, clock: Callable[[], float] = time.time) -> Discovery:
    """What finds the provider's metadata, at the one place that OpenID Connect Discovery names."""
    address = f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration"
    return Discovery(http, settings.issuer, addresses=(address,), clock=clock)


async def provider_metadata(discovery: Discovery, issuer: str) -> Mapping[str, Any]:
    """The provider's metadata.

    Raises:
        ProviderMisconfigured: it is another issuer's, or lacks what a sign-in takes.
        AuthorizationUnavailable: it cannot be had.
    """
    try:
        found = await discovery.metadata()
    except OtherIssuer as other:
        raise ProviderMisconfigured(
            f"the provider's metadata names the issuer {other.named}, UPSTREAM_ISSUER is {issuer}"
        ) from other
    lacking = [name for name in _NEEDED if not isinstance(found.get(name), str)]
    if lacking:
        raise ProviderMisconfigured(f"the provider's metadata has no {', '.join(lacking)}")
    return found
