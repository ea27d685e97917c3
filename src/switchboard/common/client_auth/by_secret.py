"""How a client with a secret authenticates (RFC 6749 §2.3.1), and the secret that resource servers share. A leaf."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote_plus

import httpx2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

A = TypeVar("A")

NAMES: Final = {"client_secret_basic": "basic", "client_secret_post": "post"}
"""What metadata calls the ways, and what the settings do."""

RESOURCE_SERVER: Final = "resource-server"
"""The client id with which a resource server of this fleet authenticates at its own authorization server."""

Post = Callable[[dict[str, str], httpx2.BasicAuth | None], Awaitable[A]]


class ClientSecret:
    """Sends the secret in the header (`basic`) or in the form (`post`), and remembers which of them was taken.

    Some providers do not decode what RFC 6749 has form-encoded in the header: a secret with special characters is then
    another one for them, while in the form it stands for itself.
    """

    def __init__(self, client_id: str, client_secret: str, only: str = "") -> None:
        self._id, self._secret, self._only = client_id, client_secret, only
        self._taken = ""

    async def send(
        self, form: Mapping[str, str], post: Post[A], refused: Callable[[A], bool], said: object = None
    ) -> A:
        """The answer to `form`; when the client itself is refused, the other way is tried once.

        Args:
            form: without credentials.
            post: sends a form with an `Authorization` header, or without one.
            refused: whether an answer means that the credentials were not taken.
            said: the provider's `…_auth_methods_supported`, if its metadata has one; without it, `basic` is first.
        """
        ways = self._ways(said)
        answer = await self._sent(ways[0], form, post)
        if refused(answer) and len(ways) > 1:
            other = await self._sent(ways[1], form, post)
            if not refused(other):
                self._taken, answer = ways[1], other
        return answer

    def _ways(self, said: object) -> list[str]:
        if self._only:
            return [self._only]
        listed = said if isinstance(said, Iterable) and not isinstance(said, str) else ()
        names = (way for name, way in NAMES.items() if name in listed)
        first = self._taken or next(names, "basic")
        return [first, "post" if first == "basic" else "basic"]

    async def _sent(self, way: str, form: Mapping[str, str], post: Post[A]) -> A:
        if way == "post":
            return await post({**form, "client_id": self._id, "client_secret": self._secret}, None)
        return await post(dict(form), httpx2.BasicAuth(quote_plus(self._id), quote_plus(self._secret)))


def resource_server_secret(secret_key: str) -> str:
    """The client secret of a resource server, derived from the SECRET_KEY that both processes have (HKDF-SHA256)."""
    raw = HKDF(SHA256(), 32, salt=None, info=b"switchboard/introspection").derive(secret_key.encode())
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
