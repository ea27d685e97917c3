"""How this gateway proves to a provider which client it is: methods for Authlib's client, and which of them to use."""

from __future__ import annotations

import base64
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus

from authlib.common.urls import add_params_to_qs
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.oauth_providers import ClientAuth, OAuthProvider

ASSERTION_LIVES_S: Final = 60
"""An assertion is made for one request."""

_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

Prepared = tuple[str, Any, Any]
"""URL, headers and body of a request."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Which client this gateway is at one provider, and its proof."""

    client_id: str
    method: ClientAuth = "none"
    secret: str = field(default="", repr=False)
    key: Key | None = field(default=None, repr=False)
    key_id: str = ""
    algorithm: str = ""

    def proof(self) -> Callable[..., Prepared] | str:
        """What adds the proof to one request, as Authlib's clients take it; `none` and `client_secret_post` by name."""
        if self.method == "private_key_jwt" and self.key is not None:
            return _by_key(self.key, self.key_id or self.key.kid or self.key.thumbprint(), self.algorithm)
        return _by_basic if self.method == "client_secret_basic" else self.method


def configured_identity(provider: OAuthProvider, supported: Sequence[str]) -> ClientIdentity:
    """The client that the operator registered.

    Args:
        supported: the methods that the provider says it takes; empty when it says nothing.

    Raises:
        ConfigurationError: its key is none.
    """
    if provider.client_key and provider.client_auth in ("", "private_key_jwt"):
        key = signing_key(provider)
        algorithm = provider.client_key_algorithm or _algorithm(key)
        return ClientIdentity(
            provider.client_id, "private_key_jwt", key=key, key_id=provider.client_key_id, algorithm=algorithm
        )
    if not provider.client_secret:
        return ClientIdentity(provider.client_id)
    return ClientIdentity(provider.client_id, provider.client_auth or secret_method(supported), provider.client_secret)


def secret_method(supported: Sequence[str]) -> ClientAuth:
    """How to send a secret: in the header, unless the provider says that it takes it in the form alone."""
    post_alone = "client_secret_post" in supported and "client_secret_basic" not in supported
    return "client_secret_post" if post_alone else "client_secret_basic"


def signing_key(provider: OAuthProvider) -> Key:
    """The private key in `client_key`, PEM or JWK.

    Raises:
        ConfigurationError: it is none, or one that cannot sign.
    """
    text = provider.client_key
    kinds: tuple[type[Any], ...] = (RSAKey, ECKey, OKPKey)
    for kind in kinds:
        try:
            key: Key = kind.import_key(json.loads(text) if text.lstrip().startswith("{") else text)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if key.is_private and _algorithm(key):
            return key
    raise ConfigurationError(
        f"{provider.name}: client_key must be a private key, RSA, EC or Ed25519, as PEM without a password or as a JWK"
    )


def _algorithm(key: Key) -> str:
    if isinstance(key, RSAKey):
        return str(key.alg or "RS256")
    if isinstance(key, ECKey):
        return _CURVES.get(key.curve_name, "")
    return str(key.alg or "EdDSA") if isinstance(key, OKPKey) and key.curve_name == "Ed25519" else ""


def _by_key(key: Key, key_id: str, algorithm: str) -> Callable[..., Prepared]:
    """RFC 7523 §2.2. Made for one request: Authlib keeps the `jti` in the claims that it is given."""
    claims = {"exp": int(time.time()) + ASSERTION_LIVES_S}
    sign = PrivateKeyJWT(claims=claims, headers={"kid": key_id}, alg=algorithm)

    def prepare(client: Any, method: str, url: str, headers: Any, body: Any) -> Prepared:
        client.client_secret = key
        with warnings.catch_warnings():
            # Providers know the name EdDSA, and few yet the one that replaced it (RFC 9864); a JWK may say which.
            warnings.simplefilter("ignore", SecurityWarning)
            url, headers, body = sign(client, method, url, headers, body)
        return url, headers, add_params_to_qs(body, [("client_id", client.client_id)])

    return prepare


def _by_basic(client: Any, _method: str, url: str, headers: Any, body: Any) -> Prepared:
    """RFC 6749 §2.3.1, form-encoded as it says, which Authlib leaves out."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return url, headers, body
