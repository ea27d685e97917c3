"""Tokens and the keys around them: minting, look-up names, what this server seals; and PKCE. Pure; knows no Redis.

A token is `<kind>_<family><secret>`. The secret is a random half and a tag over everything before it, so a forged token
is refused without asking the store, and a token that is genuine but no longer known is known to be a replay.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from switchboard.common.client_auth.by_secret import resource_server_secret
from switchboard.common.sealing import b64, seal, unb64, unseal

Kind = Literal["code", "access", "refresh"]

MARKS: dict[Kind, str] = {"code": "sbc", "access": "sba", "refresh": "sbr"}
"""What each kind of token starts with, so that a secret scanner can name what it found."""

FAMILY = 22
_SECRET = 43
_TOKEN = re.compile(rf"(sbc|sba|sbr)_([A-Za-z0-9_-]{{{FAMILY}}})([A-Za-z0-9_-]{{{_SECRET}}})")


def derive(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(SHA256(), 32, salt=None, info=f"auth_server/{purpose}".encode()).derive(secret)


@dataclass(frozen=True, slots=True)
class _Key:
    pepper: bytes
    tag: bytes
    seal: str
    resource_server: str


def _key(secret: str) -> _Key:
    raw = secret.encode()
    return _Key(
        derive(raw, "pepper"), derive(raw, "tag"), b64(derive(raw, "server seal")), resource_server_secret(secret)
    )


class KeyRing:
    """Everything keyed by SECRET_KEY: the newest key writes, all of them read.

    So a rotation goes in three steps through the fleet: `old,new`, then `new,old`, and `new` when all that the old key
    made has expired.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys:
            raise ValueError("a key ring needs at least one secret key")
        self._keys = tuple(_key(secret) for secret in secret_keys)

    def mint(self, kind: Kind, family: str) -> str:
        """A new token of `family`."""
        head = f"{MARKS[kind]}_{family}"
        nonce = secrets.token_bytes(16)
        return head + b64(nonce + _tag(self._keys[0].tag, head, nonce))

    def family(self, kind: Kind, token: str) -> str | None:
        """The family of a token that one of our keys minted as `kind`; `None` for anything else."""
        match = _TOKEN.fullmatch(token)
        if match is None or match[1] != MARKS[kind]:
            return None
        raw = unb64(match[3])
        head = f"{match[1]}_{match[2]}"
        genuine = any(hmac.compare_digest(_tag(key.tag, head, raw[:16]), raw[16:]) for key in self._keys)
        return match[2] if genuine else None

    def mac(self, purpose: str, value: str) -> str:
        """The name under which `value` is stored: an HMAC under the newest key's pepper."""
        return _mac(self._keys[0].pepper, purpose, value)

    def macs(self, purpose: str, value: str) -> list[str]:
        """Every name `value` may be stored under, newest key first."""
        return [_mac(key.pepper, purpose, value) for key in self._keys]

    def matches(self, purpose: str, value: str, stored: str) -> bool:
        """Whether `stored` is a name of `value` under any key; each comparison takes constant time."""
        return any(hmac.compare_digest(mac, stored) for mac in self.macs(purpose, value))

    def is_resource_server(self, secret: str) -> bool:
        """Whether `secret` is what a resource server of this fleet authenticates with."""
        given = secret.encode()
        return any(hmac.compare_digest(key.resource_server.encode(), given) for key in self._keys)

    def seal(self, payload: bytes, about: str) -> str:
        """Encrypt for this server itself, where no token is at hand when reading."""
        return seal(self._keys[0].seal, payload, about)

    def unseal(self, sealed: str, about: str) -> bytes | None:
        """The payload of `seal`, under any key."""
        for key in self._keys:
            payload = unseal(key.seal, sealed, about)
            if payload is not None:
                return payload
        return None


def new_family() -> str:
    """A family's name: random, not secret, part of each of its tokens."""
    return b64(secrets.token_bytes(16))


def _tag(key: bytes, head: str, nonce: bytes) -> bytes:
    return hmac.digest(key, head.encode() + nonce, "sha256")[:16]


def _mac(pepper: bytes, purpose: str, value: str) -> str:
    return b64(hmac.digest(pepper, f"{purpose}\0{value}".encode(), "sha256"))


PKCE_METHOD = "S256"
"""The only one (RFC 7636): checked for our clients, used where we are the client."""

_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


def is_pkce_value(value: str) -> bool:
    """Whether `value` may be a challenge or a verifier: 43 to 128 unreserved characters (RFC 7636 §4.1, §4.2)."""
    return _VERIFIER.fullmatch(value) is not None


def pkce_challenge(verifier: str) -> str:
    """The challenge that goes with a verifier."""
    return b64(hashlib.sha256(verifier.encode()).digest())


def pkce_proves(verifier: str, challenge: str) -> bool:
    """Whether `verifier` is the secret behind `challenge`."""
    return is_pkce_value(verifier) and hmac.compare_digest(pkce_challenge(verifier).encode(), challenge.encode())


def pkce_parameters(challenge: str) -> dict[str, str]:
    """What an authorization request says of its challenge."""
    return {"code_challenge": challenge, "code_challenge_method": PKCE_METHOD}
