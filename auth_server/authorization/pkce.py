"""Proof Key for Code Exchange, S256 only (RFC 7636). Pure."""

from __future__ import annotations

import hashlib
import hmac
import re

from auth_server.crypto import b64

METHOD = "S256"
_WELL_FORMED = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


def well_formed(value: str) -> bool:
    """Whether `value` may be a challenge or a verifier: 43 to 128 unreserved characters (§4.1, §4.2)."""
    return _WELL_FORMED.fullmatch(value) is not None


def proves(verifier: str, challenge: str) -> bool:
    """Whether `verifier` is the secret behind `challenge`."""
    if not well_formed(verifier):
        return False
    computed = b64(hashlib.sha256(verifier.encode()).digest())
    return hmac.compare_digest(computed.encode(), challenge.encode())
