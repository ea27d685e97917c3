"""Random tokens, and values that only who presents such a token can read. Pure."""

from __future__ import annotations

import base64
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The reverse of `b64`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def random_token() -> str:
    """256 random bits, in 43 characters."""
    return secrets.token_urlsafe(32)


def _seal_key(secret: str) -> bytes:
    # HKDF's expand step alone: a token is uniformly random already (RFC 5869 §3.3), and this is on every request's way.
    return hmac.digest(secret.encode(), b"auth_server/seal\x01", "sha256")


def seal(secret: str, payload: bytes, about: str) -> str:
    """Encrypt under a key derived from `secret`: only who presents it again can read the payload.

    Args:
        secret: a token with at least 128 bits of entropy.
        payload: what to keep.
        about: where it is stored; a value moved to another place does not open.
    """
    nonce = secrets.token_bytes(_NONCE)
    return b64(nonce + AESGCM(_seal_key(secret)).encrypt(nonce, payload, about.encode()))


def unseal(secret: str, sealed: str, about: str) -> bytes | None:
    """The payload, or `None` when it was sealed under another secret or for another place."""
    raw = unb64(sealed)
    try:
        return AESGCM(_seal_key(secret)).decrypt(raw[:_NONCE], raw[_NONCE:], about.encode())
    except InvalidTag:
        return None
