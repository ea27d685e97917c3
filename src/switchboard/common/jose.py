"""Signed JWTs of others (RFC 7515, RFC 7519): verified with pinned algorithms and keys we chose; and their claims.

What a token says about its own key is at most a `kid` to choose by: `jku`, `x5u` and `jwk` are never looked at
(RFC 8725 §3.1, §3.9).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

from switchboard.common import strict_json

ALGORITHMS: Final = (
    *("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"),
)
"""Asymmetric ones only: a public key can then never be taken for a shared secret."""

MAX_KEYS: Final = 50
"""Keys of a set that are tried."""

_KEY_TYPES: Final = {"E": ("EC", "OKP"), "R": ("RSA",), "P": ("RSA",)}
_MEMBERS: Final = frozenset({"kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e"})


class InvalidJwt(Exception):
    """The token is no signed JWT, or no key of ours made its signature."""


@dataclass(frozen=True, slots=True)
class Jwt:
    """Header and claims. Whether the signature is good depends on where it comes from: `peek` or `verified`."""

    header: Mapping[str, Any]
    claims: dict[str, Any]


def public_members(key: Mapping[str, Any]) -> dict[str, Any]:
    """What of a public key it takes to verify; certificates and all else are not worth keeping."""
    return {name: value for name, value in key.items() if name in _MEMBERS}


def peek(token: str) -> Jwt:
    """Header and claims as they stand, not verified: to find out whose keys to try.

    Raises:
        InvalidJwt: with what the token is instead.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidJwt("opaque")
    try:
        # The claims too: the library that verifies them takes NaN, half surrogates and any depth.
        header, claims = (strict_json.read(_decoded(part)) for part in parts[:2])
    except (ValueError, binascii.Error) as error:
        raise InvalidJwt("something else with two dots") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise InvalidJwt("JSON that is no object")
    return Jwt(header, claims)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(token: str, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str] = ALGORITHMS) -> Jwt:
    """The token, if one of `keys` (public JWKs) made its signature. Its claims are still to be judged.

    Raises:
        InvalidJwt: none did, or its header asks for what is not accepted.
    """
    header = peek(token).header
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms or "crit" in header:
        raise InvalidJwt("the algorithm is not accepted")
    # Real issuers send headers that a strict check does not know.
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    for key in fitting(keys, header.get("kid"), algorithm):
        try:
            found = jwt.decode(token, JWKRegistry.import_key(dict(key)), algorithms=[algorithm], registry=registry)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            continue
        return Jwt(dict(found.header), dict(found.claims))
    raise InvalidJwt("the signature is not by a known key")


def fitting(keys: Sequence[Mapping[str, Any]], kid: object, algorithm: str) -> list[Mapping[str, Any]]:
    """The keys that may have made a signature with this algorithm, going by the `kid` if the token names one."""
    usable = [key for key in keys[:MAX_KEYS] if _fits(key, algorithm)]
    return [key for key in usable if key.get("kid") in (None, kid)] if kid is not None else usable


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    usable = key.get("use") in (None, "sig") and key.get("alg") in (None, algorithm)
    return usable and key.get("kty") in _KEY_TYPES[algorithm[0]]


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this name, or at this path: `realm_access.roles` is `roles` in the object `realm_access`; or `None`.

    One whose name is all of `name` comes first: names may be URLs, which have dots too.
    """
    if name in claims:
        return claims[name]
    for dot in (place for place, char in enumerate(name) if char == "."):
        inner = claims.get(name[:dot])
        found = claim_at(inner, name[dot + 1 :]) if isinstance(inner, Mapping) else None
        if found is not None:
            return found
    return None
