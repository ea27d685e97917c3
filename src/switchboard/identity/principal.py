"""The principal of a request, and the protocol of what makes one of a token."""

from __future__ import annotations

import contextvars
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Principal:
    """The person and the client that an access token stands for. A session belongs to one `owner`."""

    issuer: str
    subject: str
    client_id: str
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None
    """Unix time in seconds, or `None` when the token does not expire."""
    owner: str = field(init=False, compare=False, repr=False)
    """The stable identity as a JSON array `[issuer, subject, client]`; survives a token refresh."""
    digest: str = field(init=False, compare=False, repr=False)
    """A short hash of `owner` for logs: tells two people apart without naming either."""
    _person: str | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        owner = json.dumps([self.issuer, self.subject, self.client_id], separators=(",", ":"))
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "digest", hashlib.sha256(owner.encode()).hexdigest()[:12])

    @property
    def person(self) -> str:
        """The person, with whichever client, as a JSON array `[issuer, subject]`; made when first asked for."""
        if self._person is None:
            object.__setattr__(self, "_person", json.dumps([self.issuer, self.subject]))
        return self._person  # type: ignore[return-value]  # it was just set


def person_of(owner: str) -> str:
    """The person of an `owner`."""
    return json.dumps(json.loads(owner)[:2])


ANONYMOUS = Principal(issuer="", subject="anonymous", client_id="", scopes=frozenset({"mcp"}))
"""The principal of every request when `AUTH_MODE=none`."""


class KeyBoundToken(Exception):
    """A token that is bound to a key (RFC 9449, RFC 8705), and so no bearer token: it is refused."""

    def __init__(self) -> None:
        super().__init__(
            "The token is bound to a key (DPoP or mutual TLS), which this server does not check:"
            " ask for one without, of the type Bearer"
        )


class TokenVerifier(Protocol):
    """Turns a bearer token into a principal."""

    def verify(self, token: str) -> Awaitable[Principal | None]:
        """The token's principal, or `None` for a token that is unknown, expired, revoked or meant for another audience.

        What can be asked of the shared state is asked at once: what the caller asks of it before awaiting this leaves
        in the same write. The answer must be awaited.

        Raises:
            AuthorizationUnavailable: the issuer or its store cannot be asked now (answered with 503).
            KeyBoundToken: the token is good, but no bearer token.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """What handlers may know of the request being served."""

    principal: Principal
    session_id: str | None = None
    """The handshake session, or `None` in the modern era."""
    still_valid: Callable[[], Awaitable[bool]] | None = None
    """Asks whether the token of this request is still valid; `None` where there is no token."""
    bearer: str = field(default="", repr=False, compare=False)
    """The token itself, to be exchanged at the issuer that made it; shown to nobody else, and never passed on."""


_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("switchboard_caller")


def current() -> Caller:
    """The caller of the request being served; anonymous outside of one."""
    return _caller.get(Caller(ANONYMOUS))


class Serving:
    """A context in which a caller is the current one, for what is done in it and for the tasks started there."""

    __slots__ = ("_caller", "_reset")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._reset = _caller.set(self._caller)

    def __exit__(self, *_: object) -> None:
        _caller.reset(self._reset)


def serving(caller: Caller) -> Serving:
    """Make `caller` the current one for this context, and for the tasks started in it."""
    return Serving(caller)
