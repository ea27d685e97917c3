"""How this server authenticates at the OpenID provider: by its secret, or by a signature (RFC 7523 §2.2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from auth_server.connectors.base import provider_error
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.models import CLIENT_ASSERTION
from auth_server.settings import OidcSettings
from switchboard.common.client_secret import ClientSecret
from switchboard.common.sealing import random_token

LIVES: Final = 60
"""Seconds: an assertion is made for one request."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

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
            return await self._web.post(endpoint, form | self._assertion(self._key, endpoint))

        async def post(sent: dict[str, str], auth: Any) -> Answer:
            return await self._web.post(endpoint, sent, auth)

        return await self._secret.send(form, post, refuses_us, metadata.get("token_endpoint_auth_methods_supported"))

    def _assertion(self, key: Key, endpoint: str) -> dict[str, str]:
        now = int(self._clock())
        claims = {"iss": self._id, "sub": self._id, "aud": endpoint, "jti": random_token(), "iat": now}
        header = {"alg": _algorithm(key), "kid": key.kid or key.thumbprint()}
        signed = jwt.encode(
            header, claims | {"exp": now + LIVES}, key, registry=JWSRegistry(algorithms=[header["alg"]])
        )
        return {"client_id": self._id, "client_assertion_type": CLIENT_ASSERTION, "client_assertion": signed}


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


def signing_key(text: str) -> Key:
    """A private key out of PEM or a JWK.

    Raises:
        ValueError: it is none, or one that cannot sign.
    """
    problem = "must hold a private key, RSA, EC or Ed25519, as PEM without a password or as a JWK"
    kinds: tuple[type[Any], ...] = (RSAKey, ECKey, OKPKey)
    for kind in kinds:
        try:
            key: Key = kind.import_key(json.loads(text) if text.lstrip().startswith("{") else text)
            if key.is_private and _algorithm(key):
                return key
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise ValueError(problem)


def _algorithm(key: Key) -> str:
    if isinstance(key, RSAKey):
        return str(key.alg or "RS256")
    if isinstance(key, ECKey):
        return _CURVES[key.curve_name]
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return "EdDSA"
    raise ValueError("a key of this kind cannot sign")
