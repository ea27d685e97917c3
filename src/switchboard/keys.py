"""One SECRET_KEY, a key for each purpose: HKDF (RFC 5869) keeps a leak of one from being a leak of all."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(secret: str, purpose: str) -> str:
    """256 bits in hexadecimal, for one purpose."""
    info = f"switchboard {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode()).hex()
