"""Keys that clients can verify by: made of the lab's secret, so that all workers have the same and none is kept."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from switchboard.lab.recorder import KEPT_S
from switchboard.state import State

ALGORITHM: Final = "ES256"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (SEC 2, §2.4.2)."""


def signing_key(secret: bytes, name: str) -> ECKey:
    """A key of P-256 that is the same for the same secret and name, which is its `kid`."""
    number = int.from_bytes(hashlib.sha512(name.encode() + secret).digest()) % (_ORDER - 1) + 1
    private = ec.derive_private_key(number, ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ECKey.import_key(pem, {"kid": name, "use": "sig", "alg": ALGORITHM})


class ChangingKeys:
    """The one key of each issuer that changes it. Both methods may raise `StateUnavailable`.

    Args:
        secret: of the lab alone.
    """

    def __init__(self, state: State, secret: bytes) -> None:
        self._state = state
        self._secret = secret

    async def current(self, run: str, scenario: str) -> ECKey:
        """The key that an issuer has now."""
        with self._state.guard():
            changed: Any = await self._state.redis.get(self._state.keys.lab_changed(run, scenario))
        return signing_key(self._secret, f"{run}-{scenario}-{changed or 0}")

    async def change(self, run: str, scenario: str) -> None:
        """From now on it has another."""
        key = self._state.keys.lab_changed(run, scenario)
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, KEPT_S)
                await pipe.execute()
