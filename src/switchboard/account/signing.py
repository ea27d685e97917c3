"""What a browser or a link carries for this server: signed by a key of SECRET_KEY, for one purpose, until a time.

Signed, not encrypted: nothing secret goes in. HMAC with SHA-256 (itsdangerous); the newest key signs, all verify.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import Response

from switchboard.keys import derive

LONGEST: Final = 4096
"""Characters of a signed text: as long as browsers let a cookie be."""


class Signer:
    """Signs JSON objects for one purpose; what another purpose, or another key, signed is refused.

    Args:
        keys: of SECRET_KEY, the newest first.
        purpose: becomes the salt.
        clock: Unix seconds, the same on every worker.
    """

    def __init__(self, keys: Sequence[str], purpose: str, clock: Callable[[], float] = time.time) -> None:
        self._serializer = URLSafeSerializer(
            [derive(key, "signed texts") for key in reversed(keys)],
            salt=f"switchboard {purpose}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._clock = clock

    def sign(self, payload: Mapping[str, Any], lives: float) -> str:
        """A text for URLs and cookies, good for `lives` seconds."""
        return str(self._serializer.dumps({**payload, "until": int(self._clock() + lives)}))

    def read(self, text: str) -> dict[str, Any] | None:
        """What was signed; `None` when it was not signed here for this purpose, or is over."""
        if not text or len(text) > LONGEST:
            return None
        try:
            found: dict[str, Any] = self._serializer.loads(text)
        except BadData:
            return None
        return found if found.pop("until") > self._clock() else None


class Cookie:
    """A signed cookie of this server: HttpOnly, and sent along when a page elsewhere leads here (SameSite=Lax).

    `__Host-` ties it to this host and to https; plain http, which is for loopback, cannot have that.

    Args:
        name: what it is for; the full name says besides where the server is, as several may share a host.
        base_uri: of this server.
        signer: for this purpose alone.
        lives: seconds.
    """

    def __init__(self, name: str, base_uri: str, signer: Signer, lives: int) -> None:
        scheme, _, rest = base_uri.partition("://")
        path = "".join(each if each.isalnum() else "-" for each in rest.partition("/")[2])
        self._secure = scheme == "https"
        self._name = f"{'__Host-' if self._secure else ''}switchboard-{name}{f'-{path}' if path else ''}"
        self._signer = signer
        self._lives = lives

    def read(self, request: Request, suffix: str = "") -> dict[str, Any] | None:
        """What the browser brought, if it was signed here and is not over."""
        return self._signer.read(request.cookies.get(self._name + suffix, ""))

    def write(self, response: Response, payload: Mapping[str, Any], suffix: str = "") -> None:
        """Have the browser keep it."""
        text = self._signer.sign(payload, self._lives)
        response.set_cookie(
            self._name + suffix,
            text,
            max_age=self._lives,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def delete(self, response: Response, suffix: str = "") -> None:
        """Have the browser forget it."""
        response.delete_cookie(self._name + suffix, path="/", secure=self._secure, httponly=True, samesite="lax")
