"""A principal made of the claims of a verified token, or a log line that says why there is none.

Issuers name their claims differently; a name with dots is a path into nested ones (`common.jose.claim_at`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from switchboard.common.jose import claim_at
from switchboard.common.visible_text import excerpt
from switchboard.identity.principal import KeyBoundToken, Principal

SKEW = 60.0
"""Seconds by which an issuer's clock may differ from ours, for `nbf` and `exp` of tokens verified here."""

_NOT_ACCESS = frozenset({"id_token", "id", "refresh_token", "refresh", "offline"})


_BOUND = frozenset({"dpop", "pop"})

log = structlog.get_logger("switchboard.authorization")


class UnacceptableToken(Exception):
    """A token that is not accepted: which claim or header, what was expected, what was found. Never the token."""

    def __init__(self, what: str, expected: str, found: object) -> None:
        super().__init__(f"{what} is {_shown(found)}, expected: {expected}")
        self.what, self.expected, self.found = what, expected, _shown(found)

    def log(self, issuer: str) -> None:
        """Log it for the operator; the client is not told."""
        log.info("token.refused", issuer=issuer, what=self.what, expected=self.expected, found=self.found)


def _shown(value: object) -> str:
    return "missing" if value is None else excerpt(value, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """Which claims an issuer's tokens must have, and the names of those that are read.

    Args:
        issuer: `iss`, byte for byte; tokens that name another are refused.
        audiences: `aud` must hold one of these.
        subject: the claim that identifies a person for good; fixed per issuer, never an e-mail address.
        scopes: claims that hold scopes, as a string or a list; all that are there count.
        client: claims that may hold the client's id; the first that is there counts.
        required: claims and the values they must have.
        scope_map: the issuer's names for our scopes; others are kept as they are.
    """

    issuer: str
    audiences: Collection[str]
    subject: str = "sub"
    scopes: tuple[str, ...] = ("scope", "scp", "roles")
    client: tuple[str, ...] = ("client_id", "azp", "cid")
    required: Mapping[str, str] = field(default_factory=dict)
    scope_map: Mapping[str, str] = field(default_factory=dict)

    def principal(self, claims: Mapping[str, Any], now: float, skew: float = 0.0) -> Principal | None:
        """The principal of these claims; `None` when the token is for others, not valid now, or no access token.

        Raises:
            KeyBoundToken: it is all that, but bound to a key.
        """
        try:
            return self.read(claims, now, skew)
        except UnacceptableToken as error:
            error.log(self.issuer)
            return None

    def read(self, claims: Mapping[str, Any], now: float, skew: float = 0.0) -> Principal:
        """As `principal`.

        Raises:
            UnacceptableToken: with what was expected, and what was found.
        """
        self._must_be_ours(claims)
        _must_be_current(claims, now, skew)
        _must_be_access_token(claims)
        subject = claim_at(claims, self.subject)
        if not isinstance(subject, str) or not subject:
            raise UnacceptableToken(self.subject, "a text that names the person (SUBJECT_CLAIM)", subject)
        if claims.get("cnf") is not None or str(claims.get("token_type", "")).lower() in _BOUND:
            raise KeyBoundToken
        expires = claims.get("exp")
        return Principal(
            issuer=self.issuer,
            subject=subject,
            client_id=self._client(claims),
            scopes=self._scopes(claims),
            expires_at=float(expires) if expires is not None else None,
        )

    def _must_be_ours(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss", self.issuer) != self.issuer:
            raise UnacceptableToken("iss", self.issuer, claims["iss"])
        named = claims.get("aud")
        audiences = {named} if isinstance(named, str) else set(_strings(named))
        if not audiences & set(self.audiences):
            raise UnacceptableToken("aud", f"one of {', '.join(sorted(self.audiences))} (TOKEN_AUDIENCES)", named)
        for name, value in self.required.items():
            if claim_at(claims, name) != value:
                raise UnacceptableToken(name, f"{value} (REQUIRED_CLAIMS)", claim_at(claims, name))

    def _client(self, claims: Mapping[str, Any]) -> str:
        found = (claim_at(claims, name) for name in self.client)
        return next((value for value in found if isinstance(value, str) and value), "")

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        values = (claim_at(claims, name) for name in self.scopes)
        named = [scope for value in values for scope in (value.split() if isinstance(value, str) else _strings(value))]
        return frozenset(self.scope_map.get(scope, scope) for scope in named)


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _must_be_current(claims: Mapping[str, Any], now: float, skew: float) -> None:
    expires, not_before = claims.get("exp"), claims.get("nbf")
    for name, value in (("exp", expires), ("nbf", not_before)):
        if not _is_time(value):
            raise UnacceptableToken(name, "a number of seconds", value)
    if expires is not None and now >= expires + skew:
        raise UnacceptableToken("exp", f"later than {now:.0f}", expires)
    if not_before is not None and now < not_before - SKEW:
        raise UnacceptableToken("nbf", f"{now:.0f} or earlier", not_before)


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _must_be_access_token(claims: Mapping[str, Any]) -> None:
    """Refuse ID tokens and refresh tokens: some issuers name the type, and some claims are in ID tokens only."""
    for name in ("token_type", "token_use", "typ"):
        if str(claims.get(name, "")).lower() in _NOT_ACCESS:
            raise UnacceptableToken(name, "that of an access token", claims[name])
    for name in ("at_hash", "c_hash"):
        if name in claims:
            raise UnacceptableToken(name, "none, as in access tokens; this is an ID token", "one")
