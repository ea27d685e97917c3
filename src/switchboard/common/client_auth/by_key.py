"""Private keys by which a client proves at an OAuth provider who it is (RFC 7523 §2.2). A leaf."""

from __future__ import annotations

import json
import warnings
from typing import Any, Final

from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

LIVES_S: Final = 60
"""An assertion is made for one request."""

_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


def signing_key(text: str) -> Key:
    """A private key out of PEM or a JWK.

    Raises:
        ValueError: it is none, or one that cannot sign.
    """
    kinds: tuple[type[Any], ...] = (RSAKey, ECKey, OKPKey)
    for kind in kinds:
        try:
            key: Key = kind.import_key(json.loads(text) if text.lstrip().startswith("{") else text)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if key.is_private and algorithm_of(key):
            return key
    raise ValueError("must hold a private key, RSA, EC or Ed25519, as PEM without a password or as a JWK")


def algorithm_of(key: Key) -> str:
    """With what a key signs: what its JWK says, else what fits its kind; empty for one that cannot sign."""
    if isinstance(key, ECKey):
        return _CURVES.get(key.curve_name, "")
    if isinstance(key, RSAKey):
        return str(key.alg or "RS256")
    return str(key.alg or "EdDSA") if isinstance(key, OKPKey) and key.curve_name == "Ed25519" else ""


def client_assertion(
    key: Key, client_id: str, endpoint: str, now: float, *, key_id: str = "", algorithm: str = ""
) -> dict[str, str]:
    """What a form says so that `endpoint` knows which client sends it.

    Args:
        now: Unix seconds.
        key_id, algorithm: where the provider wants others than the key's own.
    """
    at = int(now)
    with warnings.catch_warnings():
        # Providers know the name EdDSA, and few yet the one that replaced it (RFC 9864); a JWK may say which.
        warnings.simplefilter("ignore", SecurityWarning)
        signed = private_key_jwt_sign(
            key,
            client_id,
            endpoint,
            alg=algorithm or algorithm_of(key),
            header={"kid": key_id or key.kid or key.thumbprint()},
            issued_at=at,
            expires_at=at + LIVES_S,
        )
    return {"client_id": client_id, "client_assertion_type": ASSERTION, "client_assertion": signed}
