"""The OAuth providers that backends and plugins are authorized at: described by the operator, or by one word.

A description is complete (its URLs), or names where the rest is found: the issuer's metadata (RFC 8414, OpenID Connect
Discovery), or a backend's own (RFC 9728), which names its issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from switchboard.common.fetch.guarded_transport import origin_of
from switchboard.errors import ConfigurationError

ClientAuth = Literal["", "client_secret_basic", "client_secret_post", "private_key_jwt", "none"]

URLS: Final = ("issuer", "authorization_url", "token_url", "revocation_url", "registration_url", "resource_url")


@dataclass(frozen=True, slots=True)
class OAuthProvider:
    """An authorization server, and this gateway as its client.

    Raises:
        ConfigurationError: a URL is none, or too little is said to find the endpoints.
    """

    name: str
    """What people call it: in messages and on pages."""

    issuer: str = ""
    """Byte for byte as its metadata names it; what is not given below is found there."""

    authorization_url: str = ""
    token_url: str = ""
    revocation_url: str = ""
    registration_url: str = ""

    resource_url: str = ""
    """A backend's endpoint: its metadata names the issuer, when none is given here."""

    client_id: str = ""
    """Empty: the gateway registers itself, where the provider lets it."""

    client_secret: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    """A private key, PEM or JWK: the client proves who it is by a signature (RFC 7523 §2.2)."""

    client_key_id: str = ""
    """The name that the provider knows the key by (`kid`); its thumbprint when empty."""

    client_key_algorithm: str = ""
    """With what it signs; what fits its kind when empty."""

    client_auth: ClientAuth = ""
    """Empty: by its key, by its secret in whichever way the provider says it takes, or not at all."""

    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    """What stands between scopes in the provider's answers."""

    resource: str = ""
    """What tokens are for (RFC 8707); nothing is said of it when empty."""

    audience: str = ""
    """Likewise, for providers that want it by this name."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    """What else an authorization request has."""

    client_document_url: str = ""
    """Where this gateway describes itself (Client ID Metadata Documents); https."""

    private_addresses: bool = False
    """Whether addresses that the provider's or the backend's metadata names may be on a private network."""

    def __post_init__(self) -> None:
        for name in URLS:
            if (url := getattr(self, name)) and not is_web_address(url):
                raise ConfigurationError(f"{self.name}: {name} is no web address without user, password and fragment")
        if not (self.issuer or self.resource_url or self.token_url):
            raise ConfigurationError(f"{self.name}: name its issuer, or its authorization_url and token_url")
        if self.client_auth.startswith("client_secret") and not self.client_secret and self.client_id:
            raise ConfigurationError(f"{self.name}: client_auth {self.client_auth} needs a client_secret")
        if self.client_auth == "private_key_jwt" and not self.client_key:
            raise ConfigurationError(f"{self.name}: client_auth private_key_jwt needs a client_key")

    @property
    def origins(self) -> frozenset[str]:
        """What the operator has named: it is asked wherever it is."""
        return frozenset(origin_of(url) for name in URLS if (url := getattr(self, name)))


def is_web_address(url: str) -> bool:
    """Whether it is an absolute http or https URL with nothing that hides where it leads."""
    if len(url) > 2_000 or not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}#'):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


_PRESETS: Final[Mapping[str, OAuthProvider]] = {
    # https://developers.google.com/identity/protocols/oauth2/web-server: without these two there is a refresh token
    # for a person's first consent alone.
    "google": OAuthProvider(
        "Google", "https://accounts.google.com", parameters={"access_type": "offline", "prompt": "consent"}
    ),
    # https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow: its metadata for people of any
    # tenant names an issuer with a placeholder, so its URLs are given; it has no revocation, and takes no resource.
    "microsoft": OAuthProvider(
        "Microsoft",
        authorization_url="https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        token_url="https://login.microsoftonline.com/common/oauth2/v2.0/token",  # noqa: S106 - an address
        scopes=("offline_access",),
    ),
    # https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps: it has no metadata.
    "github": OAuthProvider(
        "GitHub",
        authorization_url="https://github.com/login/oauth/authorize",
        token_url="https://github.com/login/oauth/access_token",  # noqa: S106 - an address
        scope_separator=",",
    ),
}

PRESETS: Final = tuple(_PRESETS)
"""Providers that are known by name."""


def preset(name: str, *, tenant: str = "", **said: Any) -> OAuthProvider:
    """A provider that is known by name, with what the operator says of it.

    Args:
        tenant: whose people sign in, for `microsoft`: a domain or an id; anybody's when empty.
        said: fields of `OAuthProvider`; its scopes are added to those that the preset needs.

    Raises:
        ConfigurationError: there is no preset of that name.
    """
    known = _PRESETS.get(name)
    if known is None:
        raise ConfigurationError(f"{name[:80]!a} is no known provider: use {', '.join(PRESETS)}, or give its URLs")
    if tenant and name != "microsoft":
        raise ConfigurationError(f"{name} has no tenants: leave `tenant` out")
    if tenant:
        of = {url: getattr(known, url).replace("/common/", f"/{quote(tenant, safe='')}/") for url in _TENANTS}
        known = replace(known, **of)
    scopes = tuple(dict.fromkeys((*known.scopes, *said.pop("scopes", ()))))
    return replace(known, scopes=scopes, **said)


_TENANTS: Final = ("authorization_url", "token_url")
