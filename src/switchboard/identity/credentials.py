"""How a resource server of this fleet authenticates at our own authorization server: by the key both share."""

from __future__ import annotations

import base64
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RESOURCE_SERVER: Final = "resource-server"
"""The client id that goes with the secret."""


def resource_server_secret(secret_key: str) -> str:
    """The client secret derived from SECRET_KEY (HKDF-SHA256). The authorization server derives the same by itself."""
    raw = HKDF(SHA256(), 32, salt=None, info=b"switchboard/introspection").derive(secret_key.encode())
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
