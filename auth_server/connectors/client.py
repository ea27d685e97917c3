"""How this server authenticates at the OpenID provider: by its secret, or by a signature (RFC 7523 §2.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from auth_server.connectors.base import provider_error
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.settings import OidcSettings
from switchboard.common.client_auth.by_key import client_assertion, signing_key
from switchboard.common.client_auth.by_secret import ClientSecret

Answer = tuple[int, dict[str, Any]]


class ProviderClient:
    """Sends forms to the token endpoint, with the proof that they come from us."""

    def __init__(self, settings: OidcSettings, web: ProviderHttp, clock: Callable[[], float] = time.time) -> None:
        self._id, self._web, self._clock = settings.client_id, web, clock
        by_key = settings.client_auth == "private_key_jwt"
        self._key = signing_key(settings.client_key) if by_key else None
        self._secret = ClientSecret(settings.client_id, settings.client_secret, settings.client_auth)

    async def post(self, metadata: Mapping[str, Any], form: dict[str, str]) -> Answer:
        """The provider's answer."""
        endpoint = metadata["token_endpoint"]
        if self._key is not None:
            proof = client_assertion(self._key, self._id, endpoint, self._clock())
            return await self._web.post(endpoint, form | proof)

        async def post(sent: dict[str, str], auth: Any) -> Answer:
            return await self._web.post(endpoint, sent, auth)

        return await self._secret.send(form, post, refuses_us, metadata.get("token_endpoint_auth_methods_supported"))


def refuses_us(answer: Answer) -> bool:
    """Whether it is the client that the provider does not take, rather than a code or a refresh token."""
    status, said = answer
    return said.get("error") == "invalid_client" or (status == 401 and said.get("error") != "invalid_grant")


def trouble(answer: Answer) -> str:
    """What the provider said, for the log: its error and description, in one line."""
    status, said = answer
    heard = f" ({told})" if (told := provider_error(said)) else ""
    if not refuses_us(answer):
        return f"the provider answered {status} at its token endpoint{heard}"
    return (
        f"the provider does not take this server as its client: {status}{heard}."
        " Check UPSTREAM_CLIENT_ID, UPSTREAM_CLIENT_SECRET and UPSTREAM_CLIENT_AUTH"
    )
