"""How this gateway proves to a provider which client it is: methods for Authlib's client, and which of them to use."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from authlib.common.urls import add_params_to_qs
from joserfc.jwk import Key

from switchboard.common.client_auth.by_key import client_assertion, signing_key
from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.oauth_providers import ClientAuth, OAuthProvider

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
            return _by_key(self.key, self.key_id, self.algorithm)
        return _by_basic if self.method == "client_secret_basic" else self.method


def configured_identity(provider: OAuthProvider, supported: Sequence[str]) -> ClientIdentity:
    """The client that the operator registered.

    Args:
        supported: the methods that the provider says it takes; empty when it says nothing.

    Raises:
        ConfigurationError: its key is none.
    """
    if provider.client_key and provider.client_auth in ("", "private_key_jwt"):
        named = {"key_id": provider.client_key_id, "algorithm": provider.client_key_algorithm}
        return ClientIdentity(provider.client_id, "private_key_jwt", key=_key(provider), **named)
    if not provider.client_secret:
        return ClientIdentity(provider.client_id)
    return ClientIdentity(provider.client_id, provider.client_auth or secret_method(supported), provider.client_secret)


def secret_method(supported: Sequence[str]) -> ClientAuth:
    """How to send a secret: in the header, unless the provider says that it takes it in the form alone."""
    post_alone = "client_secret_post" in supported and "client_secret_basic" not in supported
    return "client_secret_post" if post_alone else "client_secret_basic"


def _key(provider: OAuthProvider) -> Key:
    try:
        return signing_key(provider.client_key)
    except ValueError as error:
        raise ConfigurationError(f"{provider.name}: client_key {error}") from None


def _by_key(key: Key, key_id: str, algorithm: str) -> Callable[..., Prepared]:
    def prepare(client: Any, _method: str, url: str, headers: Any, body: Any) -> Prepared:
        proof = client_assertion(key, client.client_id, url, time.time(), key_id=key_id, algorithm=algorithm)
        return url, headers, add_params_to_qs(body, list(proof.items()))

    return prepare


def _by_basic(client: Any, _method: str, url: str, headers: Any, body: Any) -> Prepared:
    """RFC 6749 §2.3.1, form-encoded as it says, which Authlib leaves out."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return url, headers, body
