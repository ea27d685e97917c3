"""The tokens of one grant: read from what a provider answers, and kept in the vault. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switchboard.common.visible_text import excerpt
from switchboard.errors import CredentialUnavailable

LEEWAY_S: Final = 30.0
"""How long before its end a token is renewed: it has to last for the call that it is fetched for."""

LONGEST_TOKEN: Final = 6_000
"""Characters: two of them, sealed, fit into one record of any store of the vault."""

LONGEST_LIFE_S: Final = 10 * 365 * 86_400.0

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a type's name
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""What fits into a header (RFC 6749 appendix A.12, without the space)."""

_UNSAID: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""Scopes of OpenID Connect: providers grant them under other names, or do not mention them."""


@dataclass(frozen=True, slots=True)
class TokenSet:
    """An access token, and what is known of it. Times are Unix seconds by the fleet's clock."""

    access_token: str = field(repr=False)
    issued_at: float
    expires_at: float | None = None
    """`None` when the provider said nothing: it is used until it is refused."""

    refresh_token: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    issuer: str = ""
    """Who issued it, by the provider's metadata, else its token endpoint: it is shown to nobody else for renewal."""

    client_id: str = ""
    """Which client of the provider's it was issued to."""

    server: str = ""
    """The origin of the backend that it may be sent to; empty where that is not kept apart."""

    token_type: str = "Bearer"  # noqa: S105 - a type's name
    renewed: bool = False
    """Whether it came in exchange for a refresh token."""

    @property
    def authorization(self) -> str:
        """As a header says it."""
        return f"Bearer {self.access_token}"

    def ends_soon(self, now: float) -> bool:
        """Whether it has to be renewed before it is used.

        One that lives no time at all has ended for every worker, also for one whose clock is a little behind that of
        the worker that got it.
        """
        if self.expires_at is None:
            return False
        life = self.expires_at - self.issued_at
        return life <= 0 or now >= self.expires_at - min(LEEWAY_S, life / 5)

    def as_record(self) -> dict[str, Any]:
        """As it stands in the vault."""
        return {name: getattr(self, name) for name in self.__slots__} | {"scopes": list(self.scopes)}

    @classmethod
    def of_record(cls, value: Mapping[str, Any]) -> TokenSet:
        """The reverse of `as_record`; members of a later version are left out."""
        known = {name: value[name] for name in cls.__slots__ if name in value}
        return cls(**known | {"scopes": tuple(value.get("scopes", ()))})


def read_tokens(
    answer: Mapping[str, Any],
    *,
    provider: str,
    now: float,
    asked: Sequence[str] = (),
    separator: str = " ",
    types: Sequence[str] = ("bearer",),
) -> TokenSet:
    """What a token endpoint answered (RFC 6749 §5.1).

    Args:
        provider: what people call it, for the messages.
        now: when it was asked.
        asked: the scopes that were asked for, which count as granted when the answer does not mention any.
        separator: what stands between scopes.
        types: the `token_type`s that are usable, in lower case. One that is missing counts as Bearer: there are
            providers that leave it out, and nobody else would send a bearer token.

    Raises:
        CredentialUnavailable: there is no usable token in it.
    """
    token, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() not in types:
        raise CredentialUnavailable(
            f"{provider} gave a token of the type {excerpt(kind, 40)}, and this gateway uses Bearer tokens alone:"
            " ask its operator for another provider or client"
        )
    if not isinstance(token, str) or not fits(token):
        raise CredentialUnavailable(
            f"{provider} answered without a usable access token: try again, or tell its operator"
        )
    refresh = answer.get("refresh_token")
    return TokenSet(
        access_token=token,
        issued_at=now,
        expires_at=_end(answer.get("expires_in"), now),
        refresh_token=refresh if isinstance(refresh, str) and fits(refresh) else "",
        scopes=_scopes(answer.get("scope"), separator) or tuple(asked),
    )


def fits(token: str) -> bool:
    """Whether it can be kept and sent."""
    return len(token) <= LONGEST_TOKEN and _TOKEN.fullmatch(token) is not None


def missing_scopes(tokens: TokenSet, asked: Sequence[str]) -> tuple[str, ...]:
    """What was asked for and not granted."""
    return tuple(each for each in asked if each not in tokens.scopes and each not in _UNSAID)


def _end(seconds: object, now: float) -> float | None:
    if isinstance(seconds, str) and seconds.strip().isdecimal() and len(seconds) < 16:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return now + min(max(float(seconds), 0.0), LONGEST_LIFE_S)


def _scopes(said: object, separator: str) -> tuple[str, ...]:
    if isinstance(said, list):
        said = " ".join(each for each in said if isinstance(each, str))
    if not isinstance(said, str):
        return ()
    return tuple(dict.fromkeys(said.replace(separator, " ").split()))[:100]
