"""The settings of the authorization server, as plain values checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from auth_server.quotas import QUOTAS, Name
from auth_server.scopes import SCOPES, well_formed
from switchboard.common.hosts import is_loopback
from switchboard.common.jose import claim_at
from switchboard.common.quota import Quota
from switchboard.errors import ConfigurationError

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things live, in seconds."""

    pending: float = 600
    code: float = 600
    access: float = 3_600
    refresh: float = 7 * DAY
    family: float = 30 * DAY
    """The longest that an authorization lives, however often it is refreshed."""
    grace: float = 30
    session: float = 7 * DAY
    client: float = 30 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticClient:
    """A client known by settings, not by registration: a machine, or a gateway."""

    id: str
    secret: str = field(default="", repr=False)
    name: str = ""
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ("client_credentials",)
    scope: str = ""
    jwks: dict[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An identity provider whose assertions about people are taken (ID-JAG)."""

    issuer: str
    jwks_uri: str
    same_people: bool = False
    """Whether this is also the identity provider that signs people in here, so that its subjects are ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """An OpenID provider that signs people in.

    Args:
        issuer: byte for byte as the provider writes it, a trailing slash included.
        client_auth: `basic`, `post` or `private_key_jwt`; empty goes by the provider's metadata.
        client_key: for `private_key_jwt`, a private key as PEM or JWK.
        scopes: what to ask for; `offline_access` lets us ask again at refresh, where the provider has it.
        subject_claim: what identifies a person for good.
        groups_claim: the claim that holds a person's groups.
        group_scopes: what each group may grant; without it all people may grant everything but `admin`.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    client_auth: str = ""
    client_key: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid", "offline_access")
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    group_scopes: Mapping[str, tuple[str, ...]] | None = None

    def allowed(self, claims: Mapping[str, Any]) -> frozenset[str] | None:
        """What a person with these claims may grant; `None` for everything. All people are in the group `*`."""
        if self.group_scopes is None:
            return None
        said = claim_at(claims, self.groups_claim)
        groups = {said} if isinstance(said, str) else {item for item in _items(said) if isinstance(item, str)}
        return frozenset(scope for group in groups | {"*"} for scope in self.group_scopes.get(group, ()))


def _items(said: object) -> list[object]:
    return said if isinstance(said, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class GithubSettings:
    """GitHub, or a GitHub Enterprise server, that signs people in."""

    client_id: str
    client_secret: str = field(repr=False)
    site: str = "https://github.com"
    api: str = "https://api.github.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Every setting; checked here.

    Args:
        issuer: the issuer identifier, kept byte for byte; may have a path.
        resources: what tokens may be asked for; the first is the default for clients that name none.
        secret_keys: newest first; the newest writes, all read.
        allow_fake_idp: lets the fake identity provider serve an issuer that is not loopback (test installations).
        scopes: all that can be granted.
        admins: the subjects of people who may grant `admin`, besides those whose groups may.
        default_scopes: what is granted to a client that asks for nothing.
        access_tokens: `jwt` lets resource servers verify without asking, for ten minutes at most.
        rate_limits: whether requests are counted and refused.
        quotas: how many requests are allowed.
    """

    issuer: str
    resources: tuple[str, ...]
    secret_keys: tuple[str, ...] = field(repr=False)
    allow_fake_idp: bool = False
    scopes: tuple[str, ...] = SCOPES
    default_scopes: tuple[str, ...] = ("mcp",)
    admins: tuple[str, ...] = ()
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    clients: tuple[StaticClient, ...] = ()
    trusted_issuers: tuple[TrustedIssuer, ...] = ()
    upstream: OidcSettings | GithubSettings | None = None
    """Who signs people in; the fake identity provider when nobody is named."""
    access_tokens: Literal["opaque", "jwt"] = "opaque"
    rate_limits: bool = True
    quotas: Mapping[Name, Quota] = field(default_factory=lambda: QUOTAS)
    max_unused_clients: int = 10_000
    max_records: int = 10_000
    """Authorizations under way at each step: before consent, and at the identity provider."""

    def __post_init__(self) -> None:
        _check_issuer(self.issuer, self.allow_fake_idp)
        if not self.resources:
            raise ConfigurationError("resources: empty; name at least one resource that tokens are for")
        if not self.secret_keys or not all(self.secret_keys):
            raise ConfigurationError("SECRET_KEY: empty; give at least one key, newest first")
        if not all(map(well_formed, self.scopes)):
            raise ConfigurationError(
                "EXTRA_SCOPES: a scope has no spaces, quotes or backslashes (RFC 6749 section 3.3)"
            )
        if not set(self.default_scopes) <= set(self.scopes):
            raise ConfigurationError("default_scopes: holds a scope that is not among the supported ones")

    @property
    def base(self) -> str:
        """The issuer without a trailing slash: what endpoint addresses start with."""
        return self.issuer.rstrip("/")

    @property
    def groups_decide(self) -> bool:
        """Whether what people may grant depends on their groups at the identity provider."""
        return isinstance(self.upstream, OidcSettings) and self.upstream.group_scopes is not None

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server by https."""
        return self.issuer.startswith("https:")

    def cookie(self, name: str) -> str:
        """The full name of a cookie: tied to the host by https, and each server's own where several share a host."""
        path = re.sub(r"[^A-Za-z0-9]+", "-", urlsplit(self.base).path)
        return f"{'__Host-' if self.secure else ''}{name}{path}"

    @property
    def origin(self) -> str:
        """Scheme and authority of the issuer, as a browser's `Origin` shows it."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def path(self) -> str:
        """The path of the issuer, below which its endpoints are; empty when it has none."""
        return urlsplit(self.base).path


def _check_issuer(issuer: str, anywhere: bool) -> None:
    parts = urlsplit(issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"issuer: {issuer!r} is not an http(s) address without query and fragment")
    if parts.scheme == "http" and not anywhere and not is_loopback(parts.hostname):
        raise ConfigurationError(f"issuer: {issuer!r} must be https, as it is not loopback")
