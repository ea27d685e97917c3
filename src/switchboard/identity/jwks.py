"""Verifying by the issuer's public keys: the token is never sent anywhere, and the issuer may be away for a day.

Algorithms are pinned, and what a token says about its own key is at most a `kid` to choose by: `jku`, `x5u` and `jwk`
are never looked at (RFC 8725 §3.1, §3.9).
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

from switchboard.common import strict_json
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity.breaker import Breaker
from switchboard.identity.cache import OneAtATime
from switchboard.identity.claims import SKEW, ClaimRules, Unfit
from switchboard.identity.discovery import fetch_json
from switchboard.identity.principal import Principal

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519")
"""Asymmetric ones only: a public key can then never be taken for a shared secret."""

FRESH = 3_600.0
STALE = 86_400.0
SOONEST = 30.0
RETRY = 1.0
"""Seconds: keys are used for an hour, for a day when the issuer is away; looked up again for an unknown `kid` at most
every 30 seconds, and every second while there are no fresh ones."""

TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""Headers that an access token may have (RFC 9068 §2.1; many issuers just say JWT). Other kinds of JWT say so there."""

_MOST_KEYS = 50
_KEY_TYPES = {"E": ("EC", "OKP"), "R": ("RSA",), "P": ("RSA",)}

Address = Callable[[], Awaitable[str]]


class IssuerKeys:
    """The public keys of one issuer, looked up when needed, by one request at a time."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        address: str | Address,
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._address = address
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._turns = OneAtATime()
        self._keys: list[dict[str, Any]] = []
        self._fetched = float("-inf")
        self._tried = float("-inf")

    async def candidates(self, kid: object, algorithm: str) -> list[dict[str, Any]]:
        """The keys that may have made a signature.

        Raises:
            AuthorizationUnavailable: there are none, and none can be had.
        """
        if self._age() >= FRESH or (kid is not None and not self._knows(kid)):
            await self._look_up()
        if self._age() >= STALE:
            raise AuthorizationUnavailable("the issuer's keys cannot be had")
        fitting = [key for key in self._keys if _fits(key, algorithm)]
        return [key for key in fitting if key.get("kid") in (None, kid)] if kid is not None else fitting

    async def _look_up(self) -> None:
        tried = self._tried
        async with self._turns.holding(""):
            now = self._clock()
            # Somebody else has just looked; or it is too soon to look again for the sake of one token.
            pause = SOONEST if self._age() < FRESH else RETRY
            if self._tried != tried or now - self._tried < pause or not self._breaker.allows(now):
                return
            self._tried = now
            found = await self._fetch()
            if found is None:
                self._breaker.failed(now)
                return
            self._breaker.succeeded()
            self._keys, self._fetched = found, now

    async def _fetch(self) -> list[dict[str, Any]] | None:
        try:
            url = self._address if isinstance(self._address, str) else await self._address()
        except AuthorizationUnavailable:
            return None
        keys = (await fetch_json(self._http, url) or {}).get("keys")
        return [key for key in keys if isinstance(key, dict)][:_MOST_KEYS] if isinstance(keys, list) else None

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _knows(self, kid: object) -> bool:
        return any(key.get("kid") == kid for key in self._keys)


class JwksVerifier:
    """Verifies JWT access tokens in this process."""

    def __init__(
        self,
        keys: IssuerKeys,
        rules: ClaimRules,
        *,
        algorithms: Collection[str] = ALGORITHMS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._algorithms = frozenset(algorithms) & frozenset(ALGORITHMS)
        self._clock = clock

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        try:
            claims = await self._read(token)
        except Unfit as unfit:
            unfit.log(self._rules.issuer)
            return None
        return self._rules.principal(claims, self._clock(), SKEW)

    async def _read(self, token: str) -> dict[str, Any]:
        header, said = _parts(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unfit("the header alg", f"one of {', '.join(sorted(self._algorithms))}", algorithm)
        if "crit" in header:
            raise Unfit("the header crit", "none", header["crit"])
        if str(header.get("typ", "jwt")).lower() not in TYPES:
            raise Unfit("the header typ", f"one of {', '.join(sorted(TYPES))}", header["typ"])
        keys = await self._keys.candidates(header.get("kid"), algorithm)
        claims = _claims(token, keys, algorithm)
        if claims is None:
            if said.get("iss") != self._rules.issuer:  # not verified, but the likely reason
                raise Unfit("iss", self._rules.issuer, said.get("iss"))
            raise Unfit("the signature", "by a key of the issuer", f"by no key of it (kid {header.get('kid')})")
        # RFC 9068 §2.2: both must be there. An introspection answer may leave them out (RFC 7662 §2.2), a token not.
        if claims.get("exp") is None:
            raise Unfit("exp", "a number of seconds", None)
        if "iss" not in claims:
            raise Unfit("iss", self._rules.issuer, None)
        return claims


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they stand, not verified."""
    parts = token.split(".")
    if len(parts) != 3:
        raise Unfit("the token", "a JWT (TOKEN_VALIDATION)", "opaque")
    try:
        # The claims too: the library that verifies them takes NaN, half surrogates and any depth.
        header, claims = (
            strict_json.read(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]
        )
    except (ValueError, binascii.Error):
        raise Unfit("the token", "a JWT (TOKEN_VALIDATION)", "something else with two dots") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unfit("the token", "a JWT (TOKEN_VALIDATION)", "JSON that is no object")
    return header, claims


def _claims(token: str, keys: Sequence[dict[str, Any]], algorithm: str) -> dict[str, Any] | None:
    # Real issuers send headers that a strict check does not know.
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    for key in keys:
        try:
            found = jwt.decode(token, JWKRegistry.import_key(key), algorithms=[algorithm], registry=registry)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            continue
        return dict(found.claims)
    return None


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    usable = key.get("use") in (None, "sig") and key.get("alg") in (None, algorithm)
    return usable and key.get("kty") in _KEY_TYPES[algorithm[0]]
