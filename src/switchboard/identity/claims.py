"""From the claims of a verified token to a principal. Pure; issuers name their claims differently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchboard.identity.principal import Principal

SKEW = 60.0
"""Seconds by which an issuer's clock may differ from ours, for `nbf` and `exp` of tokens verified here."""

_NOT_ACCESS = frozenset({"id_token", "id", "refresh_token", "refresh", "offline"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What an issuer's tokens must say, and where they say it.

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
        """Whom the claims speak for, or `None` when the token is not for us, not valid now, or not an access token."""
        subject = claims.get(self.subject)
        if not (self._is_ours(claims) and _is_current(claims, now, skew) and _is_access_token(claims)):
            return None
        if not isinstance(subject, str) or not subject:
            return None
        expires = claims.get("exp")
        return Principal(
            issuer=self.issuer,
            subject=subject,
            client_id=self._client(claims),
            scopes=self._scopes(claims),
            expires_at=float(expires) if expires is not None else None,
        )

    def _is_ours(self, claims: Mapping[str, Any]) -> bool:
        if claims.get("iss", self.issuer) != self.issuer:
            return False
        named = claims.get("aud")
        audiences = {named} if isinstance(named, str) else set(_strings(named))
        return bool(audiences & set(self.audiences)) and all(
            claims.get(name) == value for name, value in self.required.items()
        )

    def _client(self, claims: Mapping[str, Any]) -> str:
        found = (claims.get(name) for name in self.client)
        return next((value for value in found if isinstance(value, str) and value), "")

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        values = (claims.get(name) for name in self.scopes)
        named = [scope for value in values for scope in (value.split() if isinstance(value, str) else _strings(value))]
        return frozenset(self.scope_map.get(scope, scope) for scope in named)


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_current(claims: Mapping[str, Any], now: float, skew: float) -> bool:
    expires, not_before = claims.get("exp"), claims.get("nbf")
    if not (_is_time(expires) and _is_time(not_before)):
        return False
    return (expires is None or now < expires + skew) and (not_before is None or now >= not_before - SKEW)


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_access_token(claims: Mapping[str, Any]) -> bool:
    """ID tokens and refresh tokens are told by what some issuers call them, and by claims that only ID tokens have."""
    kinds = {str(claims.get(name, "")).lower() for name in ("token_type", "token_use", "typ")}
    return not kinds & _NOT_ACCESS and not ({"at_hash", "c_hash"} & set(claims))
