"""Verifying by asking the issuer by HTTP (RFC 7662); its answer is cached for a moment.

A network error is never "inactive": it is `AuthorizationUnavailable`, which HTTP answers with 503.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from switchboard.common import strict_json
from switchboard.common.breaker import Breaker
from switchboard.common.client_auth.by_secret import ClientSecret
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity.cache import MOST_TOKENS, ExpiringCache, KeyedLocks, TokenNames
from switchboard.identity.claims import ClaimRules, UnacceptableToken
from switchboard.identity.principal import KeyBoundToken, Principal
from switchboard.telemetry.metrics import ISSUER_REQUESTS

MOST_CACHED = 30.0
"""Seconds: how old an answer may be, and so how long a revocation may go unseen."""

Endpoint = Callable[[], Awaitable[str]]

_NOT_TAKEN = "the issuer does not take INTROSPECTION_CLIENT_ID and INTROSPECTION_CLIENT_SECRET"


class IntrospectionRefused(AuthorizationUnavailable):
    """The issuer answers, but refuses this server's introspection client."""


class IntrospectionVerifier:
    """Asks the introspection endpoint, once for a token at a time.

    Args:
        http: one pooled client, with a timeout; the caller closes it.
        endpoint: the address, or what finds it (`Discovery.endpoint`).
        client_id: with `client_secret`, how this resource server authenticates.
        client_secret: see `client_id`.
        rules: issuer, audiences, and where the claims are.
        cache_seconds: how long an answer is believed, 30 at most and never beyond the token's `exp`.
        cache_size: how many answers are kept.
        breaker: when to stop asking an issuer that does not answer.
        clock: the time, as Unix seconds.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        endpoint: str | Endpoint,
        *,
        client_id: str,
        client_secret: str,
        rules: ClaimRules,
        cache_seconds: float = MOST_CACHED,
        cache_size: int = MOST_TOKENS,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._secret = ClientSecret(client_id, client_secret)
        self._rules = rules
        self._cache_seconds = min(cache_seconds, MOST_CACHED)
        self._cache: ExpiringCache[Principal | KeyBoundToken | None] = ExpiringCache(cache_size)
        self._locks = KeyedLocks()
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._name = TokenNames()

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        name = self._name(token)
        found = self._cache.get(name, self._clock())
        if found is None:
            async with self._locks.holding(name):
                found = self._cache.get(name, self._clock()) or await self._ask(name, token)
        principal = found[0]
        if isinstance(principal, KeyBoundToken):
            raise KeyBoundToken
        if principal and principal.expires_at is not None and principal.expires_at <= self._clock():
            return None
        return principal

    async def _ask(self, name: str, token: str) -> tuple[Principal | KeyBoundToken | None]:
        claims = await self._claims(token)
        now = self._clock()
        principal = self._judged(claims, now)
        until = now + self._cache_seconds
        if isinstance(principal, Principal) and principal.expires_at is not None:
            until = min(until, principal.expires_at)
        self._cache.put(name, principal, until)
        return (principal,)

    def _judged(self, claims: dict[str, Any], now: float) -> Principal | KeyBoundToken | None:
        if claims.get("active") is not True:
            UnacceptableToken("active", "true", claims.get("active")).log(self._rules.issuer)
            return None
        try:
            return self._rules.principal(claims, now)
        except KeyBoundToken as bound:
            return bound

    async def _claims(self, token: str) -> dict[str, Any]:
        if not self._breaker.allows(self._clock()):
            ISSUER_REQUESTS.add("introspection", "held_back")
            raise AuthorizationUnavailable("the issuer did not answer lately, and is not asked for a moment")
        try:
            claims = await self._post(token)
        except AuthorizationUnavailable:
            self._breaker.failed(self._clock())
            ISSUER_REQUESTS.add("introspection", "failed")
            raise
        self._breaker.succeeded()
        ISSUER_REQUESTS.add("introspection", "answered")
        return claims

    async def _post(self, token: str) -> dict[str, Any]:
        url = self._endpoint if isinstance(self._endpoint, str) else await self._endpoint()
        sent = {"token": token, "token_type_hint": "access_token"}

        async def post(form: dict[str, str], auth: httpx2.BasicAuth | None) -> httpx2.Response:
            return await self._http.post(
                url, data=form, auth=auth or httpx2.USE_CLIENT_DEFAULT, headers={"Accept": "application/json"}
            )

        try:
            response = await self._secret.send(sent, post, lambda answer: answer.status_code == 401)
            claims = strict_json.read(response.content) if response.status_code == 200 else None
        except (httpx2.HTTPError, ValueError) as error:
            # The class alone: a message of the HTTP client may hold parts of the request.
            raise AuthorizationUnavailable(f"introspection failed: {type(error).__name__}") from None
        if not isinstance(claims, dict):
            said = f"introspection was answered with status {response.status_code}"
            if response.status_code in (401, 403):
                raise IntrospectionRefused(f"{said}: {_NOT_TAKEN}")
            raise AuthorizationUnavailable(said)
        return claims
