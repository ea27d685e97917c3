"""From a bearer token to a principal, or to the challenge that tells a client how to get one.

RFC 6750 (bearer), RFC 9728 §5 (`resource_metadata`), MCP authorization: header only, checked on every request.
On the hot path of every call: headers are scanned once, and nothing is allocated for a good token but the principal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter
from typing import Protocol

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.errors import AuthorizationUnavailable, StateBusy, StateUnavailable
from switchboard.http.responses import refuse
from switchboard.identity import ANONYMOUS, Caller, KeyBoundToken, Principal, ScopeNames, TokenVerifier, serving
from switchboard.telemetry.metrics import AUTHORIZATION_REFUSALS

log = structlog.get_logger(__name__)

digest_of: Callable[[Principal], str] = lru_cache(maxsize=4096)(attrgetter("digest"))
"""A principal's digest, kept: it is asked for twice a request, and hashing costs more than all other middleware."""

RETRY_AFTER = 5
"""Seconds after which a client should ask again when the issuer or its store is away."""

_LONGEST_TOKEN = 8192
_TOKEN68 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

_REQUIRED = "Authorization is required"
_IN_QUERY = "Send the token in the Authorization header, never in the query"
_DOUBLED = "A request has one Authorization header at most"
_MALFORMED = "The token is malformed"
_INVALID = "The token is not valid here, or not any more"
_INSUFFICIENT = "The token lacks a scope"
_UNAVAILABLE = "Tokens cannot be checked now; try again soon"


@dataclass(frozen=True, slots=True)
class Challenge:
    """The `WWW-Authenticate` values of one protected resource."""

    resource_metadata_url: str
    scopes: tuple[str, ...] = ()
    """What to ask for when nothing is known yet: the scopes of ordinary use, by the issuer's names."""
    names: ScopeNames = field(default_factory=ScopeNames)
    """What the issuer calls our scopes."""

    def unauthenticated(self) -> bytes:
        """No credentials were sent: where to look and what to ask for, and no `error` (RFC 6750 §3.1)."""
        return self._header(self.scopes)

    def invalid(self, description: str) -> bytes:
        """The token is unknown, expired, revoked or meant for another audience."""
        return self._header(self.scopes, error="invalid_token", description=description)

    def malformed(self, description: str) -> bytes:
        """The request itself is wrong: a token in the query, or two of them."""
        return self._header((), error="invalid_request", description=description)

    def insufficient(self, needed: Iterable[str]) -> bytes:
        """The token is good, but the operation needs all of `needed`."""
        return self._header(self.names.needed(needed), error="insufficient_scope", description=_INSUFFICIENT)

    def _header(self, scopes: Iterable[str], *, error: str = "", description: str = "") -> bytes:
        parts = {
            "error": error,
            "error_description": description,
            "resource_metadata": self.resource_metadata_url,
            "scope": " ".join(scopes),
        }
        return ("Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items() if value)).encode("ascii")


@dataclass(frozen=True, slots=True)
class Scopes:
    """What one place needs. `implies` says which scopes stand for others: `{"admin": {"mcp"}}`."""

    required: tuple[str, ...] = ()
    implies: Mapping[str, Collection[str]] = field(default_factory=dict)

    def missing(self, granted: Collection[str]) -> bool:
        """Whether a token with `granted` may not pass; transitive implications count."""
        if all(scope in granted for scope in self.required):
            return False
        held, fresh = set(granted), list(granted)
        while fresh:
            implied = set(self.implies.get(fresh.pop(), ())) - held
            held |= implied
            fresh.extend(implied)
        return not held.issuperset(self.required)


class Gate(Protocol):
    """Decides who may come to an endpoint: a row of the table, which `http.one_pass` asks without its frame."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def admit(self, query: bytes, sent: Sequence[bytes]) -> Awaitable[Caller]:
        """Whom a request comes from. The shared state is asked at once; the answer must be awaited.

        Args:
            query: of its URL.
            sent: the values of its `Authorization` headers.

        Raises:
            Refused: with what to answer; now, or when it is awaited.
        """
        ...

    def note(self, caller: Caller, scope: Scope) -> None:
        """Put what others need to know into the scope."""
        ...


class Bearer:
    """Lets a request through with its principal set, or answers 400, 401, 403 or 503 itself."""

    def __init__(
        self,
        app: ASGIApp,
        verifier: TokenVerifier,
        *,
        resource_metadata_url: str,
        required_scopes: Iterable[str] = (),
        advertised_scopes: Iterable[str] | None = None,
        implies: Mapping[str, Collection[str]] | None = None,
        names: ScopeNames | None = None,
    ) -> None:
        self.app = app
        self._verifier = verifier
        self._needed = Scopes(tuple(required_scopes), implies or {})
        self._required = frozenset(self._needed.required)
        advertised = self._needed.required if advertised_scopes is None else tuple(advertised_scopes)
        names = names or ScopeNames()
        self.challenge = Challenge(resource_metadata_url, names.offered(advertised), names)
        self._unauthenticated = self.challenge.unauthenticated()
        self._invalid = self.challenge.invalid(_INVALID)
        self._malformed = self.challenge.invalid(_MALFORMED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            caller = await self.admit(scope["query_string"], sent)
        except Refused as refused:
            await refused.answer(scope, send)
            return
        self.note(caller, scope)
        with serving(caller):
            await self.app(scope, receive, send)

    def admit(self, query: bytes, sent: Sequence[bytes]) -> Awaitable[Caller]:
        """See `Gate`."""
        token = self._token(query, sent)
        return self._admitted(token, self._verifier.verify(token))

    async def _admitted(self, token: str, verdict: Awaitable[Principal | None]) -> Caller:
        try:
            principal = await verdict
        except (AuthorizationUnavailable, StateUnavailable) as error:
            log.warning("authorization.failed", reason=str(error))
            message = str(error) if isinstance(error, StateBusy) else _UNAVAILABLE
            raise Refused(503, message, retry_after=RETRY_AFTER) from error
        except KeyBoundToken as error:
            raise Refused(401, str(error), self.challenge.invalid(str(error))) from error
        if principal is None:
            raise Refused(401, _INVALID, self._invalid)
        if not self._required <= principal.scopes and self._needed.missing(principal.scopes):
            raise Refused(403, _INSUFFICIENT, self.challenge.insufficient(self._needed.required))
        return Caller(principal, still_valid=partial(self._is_good, token), bearer=token)

    def note(self, caller: Caller, scope: Scope) -> None:
        """See `Gate`."""
        state = scope.setdefault("state", {})
        state["challenge"] = self.challenge
        state["principal"] = caller.principal

    async def _is_good(self, token: str) -> bool:
        """For what outlives its request: an open stream ends with its token (AUTH row 10)."""
        try:
            return await self._verifier.verify(token) is not None
        except (AuthorizationUnavailable, StateUnavailable):
            return True  # not knowing is not a revocation; the next look may tell
        except KeyBoundToken:
            return False

    def _token(self, query: bytes, sent: Sequence[bytes]) -> str:
        if query and _token_in_query(query):
            raise Refused(400, _IN_QUERY, self.challenge.malformed(_IN_QUERY))
        if len(sent) > 1:
            raise Refused(400, _DOUBLED, self.challenge.malformed(_DOUBLED))
        kind, _, token = sent[0].partition(b" ") if sent else (b"", b"", b"")
        if kind.lower() != b"bearer":
            raise Refused(401, _REQUIRED, self._unauthenticated)
        token = token.strip(b" ")
        if not token or len(token) > _LONGEST_TOKEN or token.translate(None, _TOKEN68):
            raise Refused(401, _MALFORMED, self._malformed)
        return token.decode("ascii")


class Anonymous:
    """Stands where `Bearer` would when `AUTH_MODE=none`: every request has the same principal."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._caller = Caller(ANONYMOUS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        self.note(self._caller, scope)
        with serving(self._caller):
            await self.app(scope, receive, send)

    async def admit(self, query: bytes, sent: Sequence[bytes]) -> Caller:
        """See `Gate`."""
        return self._caller

    def note(self, caller: Caller, scope: Scope) -> None:
        """See `Gate`."""
        scope.setdefault("state", {})["principal"] = caller.principal


def _token_in_query(query: bytes) -> bool:
    return b"access_token" in query and any(pair.partition(b"=")[0] == b"access_token" for pair in query.split(b"&"))


class Refused(Exception):
    """A request that ends here, and what it is answered."""

    def __init__(
        self, status: int, message: str, challenge: bytes | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers: list[tuple[bytes, bytes]] = []
        if challenge is not None:
            self.headers.append((b"www-authenticate", challenge))
        if retry_after is not None:
            self.headers.append((b"retry-after", str(retry_after).encode()))

    async def answer(self, scope: Scope, send: Send) -> None:
        """Answer it, count it, and log why."""
        AUTHORIZATION_REFUSALS.add(str(self.status))
        log.info("request.refused", status=self.status, reason=self.message)
        await refuse(scope, send, self.status, self.message, headers=self.headers)
