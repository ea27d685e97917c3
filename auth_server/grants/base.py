"""The protocol of a grant type, and the request it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from auth_server.models import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, JWT_BEARER, REFRESH_TOKEN, TOKEN_EXCHANGE, Client
from auth_server.params import Params

GRANT_TYPES = (AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, JWT_BEARER)
"""What the metadata advertises."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request whose client is authenticated."""

    client: Client
    params: Params


class GrantStrategy(Protocol):
    """One grant type."""

    async def __call__(self, request: TokenRequest) -> dict[str, Any]:
        """The token response.

        Raises:
            Refusal: in the terms of RFC 6749 §5.2.
        """
        ...
