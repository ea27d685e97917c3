"""What the lab's issuers give out: signed, for one scenario of one run, and worthless anywhere else.

Client ids, codes, access and refresh tokens are JWTs with a key of the lab's own, whose `use` and `iss` are compared on
the way back; so no worker keeps anything, but for the marks of codes and refresh tokens that were used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from switchboard.lab.rules.sending import GIVEN_CLIENT, GIVEN_SECRET
from switchboard.lab.signing import ALGORITHM as VERIFIABLE

ALGORITHM: Final = "HS256"
CODE_S: Final = 120
CLIENT_S: Final = 86_400
REFRESH_S: Final = 86_400

IDENTIFIER: Final = "7d7f8c1e-3f0c-4f3e-9d53-1f8a3c6b2e90"
"""Whom tokens are for, where an issuer has an identifier of its own for each resource, as Entra ID does."""

Use = Literal["client", "code", "access", "refresh", "company code", "assertion"]


class Tokens:
    """Makes and reads them.

    Args:
        key: of the lab alone, 32 bytes.
        clock: Unix seconds.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = OctKey.import_key(key)
        self._clock = clock

    def make(self, use: Use, issuer: str, seconds: float, claims: Mapping[str, Any], key: ECKey | None = None) -> str:
        """One token, good for so many seconds.

        Args:
            key: signs in place of the lab's own, where clients may verify it.
        """
        ends = self._clock() + seconds
        said = {**claims, "use": use, "iss": issuer, "exp": ends, "jti": secrets.token_urlsafe(12)}
        if key is not None:
            return jwt.encode({"alg": VERIFIABLE, "kid": key.kid}, said, key)
        return jwt.encode({"alg": ALGORITHM}, said, self._key)

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    def opaque(self, token: str) -> str:
        """The same token without the look of a JWT: `read` takes both."""
        return base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()

    def secret_of(self, client: str) -> str:
        """The secret of a client that has one; of the client that is registered beforehand, one that is told."""
        if client == GIVEN_CLIENT:
            return GIVEN_SECRET
        return hmac.digest(self._key.raw_value, client.encode(), hashlib.sha256).hex()

    def read(self, use: Use, issuer: str, token: str, key: ECKey | None = None) -> Mapping[str, Any] | None:
        """What is in a token of this issuer, and of `key`, that has not ended; `None` for any other text."""
        try:
            if "." not in token:
                token = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            by, algorithm = (self._key, ALGORITHM) if key is None else (key, VERIFIABLE)
            claims = jwt.decode(token, by, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return None
        good = claims.get("use") == use and claims.get("iss") == issuer and claims.get("exp", 0) > self._clock()
        return claims if good else None
