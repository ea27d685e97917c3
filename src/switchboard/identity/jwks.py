"""Verifying by the issuer's public keys: the token is never sent anywhere, and the issuer may be away for a day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from switchboard.common.breaker import Breaker
from switchboard.common.discovery import Unreadable, read_json
from switchboard.common.jose import ALGORITHMS, MAX_KEYS, InvalidJwt, peek, verified
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity.cache import MOST_TOKENS, ExpiringCache, TokenNames
from switchboard.identity.claims import SKEW, ClaimRules, UnacceptableToken
from switchboard.identity.principal import Principal
from switchboard.telemetry.metrics import ISSUER_REQUESTS

FRESH = 3_600.0
STALE = 86_400.0
SOONEST = 30.0
RETRY = 1.0
"""Seconds: keys are used for an hour, for a day when the issuer is away; looked up again for an unknown `kid` at most
every 30 seconds, and every second while there are no fresh ones."""

TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""Headers that an access token may have (RFC 9068 §2.1; many issuers just say JWT). Other kinds of JWT say so there."""

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
        self._lock = asyncio.Lock()
        self._keys: Sequence[Mapping[str, Any]] = []
        self._fetched = float("-inf")
        self._tried = float("-inf")

    async def known(self, kid: object) -> Sequence[Mapping[str, Any]]:
        """The issuer's keys, looked up again when they are old or have none of this id.

        Raises:
            AuthorizationUnavailable: there are none, and none can be had.
        """
        if self._age() >= FRESH or (kid is not None and not self._knows(kid)):
            await self._look_up()
        if self._age() >= STALE:
            raise AuthorizationUnavailable("the issuer's keys cannot be had")
        return self._keys

    async def _look_up(self) -> None:
        tried = self._tried
        async with self._lock:
            now = self._clock()
            # Another request has just looked; or it is too soon to look again for one token.
            pause = SOONEST if self._age() < FRESH else RETRY
            if self._tried != tried or now - self._tried < pause or not self._breaker.allows(now):
                return
            self._tried = now
            found = await self._fetch()
            if found is None:
                self._breaker.failed(now)
                ISSUER_REQUESTS.add("keys", "failed")
                return
            self._breaker.succeeded()
            ISSUER_REQUESTS.add("keys", "answered")
            self._keys, self._fetched = found, now

    async def _fetch(self) -> list[dict[str, Any]] | None:
        try:
            url = self._address if isinstance(self._address, str) else await self._address()
            keys = (await read_json(self._http, url)).get("keys")
        except (AuthorizationUnavailable, Unreadable):
            return None
        return [key for key in keys if isinstance(key, dict)][:MAX_KEYS] if isinstance(keys, list) else None

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _knows(self, kid: object) -> bool:
        return any(key.get("kid") == kid for key in self._keys)


@dataclass(frozen=True, slots=True)
class _Signed:
    """A token whose signature and header were found good."""

    kid: object
    keys: Sequence[Mapping[str, Any]]
    """The key set that it was verified with."""
    claims: dict[str, Any]


class JwksVerifier:
    """Verifies JWT access tokens in this process; a signature once for each time that the issuer's keys were read."""

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
        self._signed: ExpiringCache[_Signed] = ExpiringCache(MOST_TOKENS)
        self._name = TokenNames()

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        name = self._name(token)
        try:
            signed = await self._still_signed(name) or await self._read(token)
        except UnacceptableToken as error:
            error.log(self._rules.issuer)
            return None
        principal = self._rules.principal(signed.claims, self._clock(), SKEW)
        if principal and principal.expires_at is not None:
            self._signed.put(name, signed, principal.expires_at + SKEW)
        return principal

    async def _still_signed(self, name: str) -> _Signed | None:
        """A token that was verified before, with the keys that the issuer still has."""
        kept = self._signed.get(name, self._clock())
        return kept[0] if kept and await self._keys.known(kept[0].kid) is kept[0].keys else None

    async def _read(self, token: str) -> _Signed:
        try:
            said = peek(token)
        except InvalidJwt as error:
            raise UnacceptableToken("the token", "a JWT (TOKEN_VALIDATION)", error) from None
        header = said.header
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise UnacceptableToken("the header alg", f"one of {', '.join(sorted(self._algorithms))}", algorithm)
        if "crit" in header:
            raise UnacceptableToken("the header crit", "none", header["crit"])
        if str(header.get("typ", "jwt")).lower() not in TYPES:
            raise UnacceptableToken("the header typ", f"one of {', '.join(sorted(TYPES))}", header["typ"])
        try:
            keys = await self._keys.known(kid)
            claims = verified(token, keys, (algorithm,)).claims
        except InvalidJwt:
            if said.claims.get("iss") != self._rules.issuer:  # not verified, but the likely reason
                raise UnacceptableToken("iss", self._rules.issuer, said.claims.get("iss")) from None
            raise UnacceptableToken("the signature", "by a key of the issuer", f"by no key of it (kid {kid})") from None
        # RFC 9068 §2.2: both must be there. An introspection answer may leave them out (RFC 7662 §2.2), a token not.
        if claims.get("exp") is None:
            raise UnacceptableToken("exp", "a number of seconds", None)
        if "iss" not in claims:
            raise UnacceptableToken("iss", self._rules.issuer, None)
        return _Signed(kid, keys, claims)
