"""Signed JWTs of others: one way to verify them, with pinned algorithms and keys we chose ourselves.

`jku`, `x5u` and `jwk` headers are never looked at; what a token says about its own key is at most a `kid` to choose by.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

from auth_server.crypto import unb64
from switchboard.common import strict_json

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519")
"""Asymmetric ones only: a public key can then never be taken for a shared secret."""

LONGEST = 16_384
_MOST_KEYS = 50
_KEY_TYPES = {"E": ("EC", "OKP"), "R": ("RSA",), "P": ("RSA",)}


_MEMBERS = frozenset({"kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e"})


class InvalidJwt(Exception):
    """The token is not well-formed, or no key of ours made its signature."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature is good. Its claims are still to be judged."""

    header: dict[str, Any]
    claims: dict[str, Any]


def needed(key: dict[str, Any]) -> dict[str, Any]:
    """What of a public key it takes to verify; certificates and all else are not worth keeping."""
    return {name: value for name, value in key.items() if name in _MEMBERS}


def peek(token: str) -> Verified:
    """Header and claims as they stand, not verified: to find out whose keys to try."""
    try:
        header, claims, _ = token.split(".")
        found = Verified(strict_json.read(unb64(header)), strict_json.read(unb64(claims)))
    except (ValueError, binascii.Error) as error:
        raise InvalidJwt("not a signed JWT") from error
    if len(token) > LONGEST or not isinstance(found.header, dict) or not isinstance(found.claims, dict):
        raise InvalidJwt("not a signed JWT")
    return found


def verified(token: str, keys: Sequence[dict[str, Any]], algorithms: Sequence[str] = ALGORITHMS) -> Verified:
    """The token, if one of `keys` (public JWKs) made its signature.

    Raises:
        InvalidJwt: it did not.
    """
    header = peek(token).header
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms or "crit" in header:
        raise InvalidJwt("the algorithm is not accepted")
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    for key in _candidates(keys, header, algorithm):
        try:
            found = jwt.decode(token, JWKRegistry.import_key(key), algorithms=[algorithm], registry=registry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        return Verified(dict(found.header), dict(found.claims))
    raise InvalidJwt("the signature is not by a known key")


def _candidates(keys: Sequence[dict[str, Any]], header: dict[str, Any], algorithm: str) -> list[dict[str, Any]]:
    fitting = [key for key in keys[:_MOST_KEYS] if _fits(key, algorithm)]
    kid = header.get("kid")
    return [key for key in fitting if key.get("kid") in (None, kid)] if kid is not None else fitting


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    usable = key.get("use") in (None, "sig") and key.get("alg") in (None, algorithm)
    return usable and key.get("kty") in _KEY_TYPES[algorithm[0]]
