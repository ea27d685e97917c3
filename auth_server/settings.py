"""What the authorization server is told: plain values for the embedding process, environment for the standalone one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from auth_server.redirects import is_loopback
from switchboard.errors import ConfigurationError

DAY = 86_400
SCOPES = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things live, in seconds."""

    pending: float = 600
    code: float = 600
    access: float = 3_600
    refresh: float = 7 * DAY
    family: float = 30 * DAY
    """The most an authorization lives, however often it is refreshed."""
    grace: float = 30
    session: float = 7 * DAY
    client: float = 30 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticClient:
    """A client known by settings, not by registration: a machine, or a gateway."""

    id: str
    secret: str = ""
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
    """Whether this is also the upstream that signs people in here, so that its subjects are ours."""

    def subject(self, subject: str) -> str:
        """What a person of this provider is called here; two providers' people are never mixed up."""
        return subject if self.same_people else f"{self.issuer}#{subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Everything the server needs to know; checked once, here.

    Args:
        issuer: the issuer identifier, kept byte for byte; may have a path.
        resources: what tokens may be asked for; the first is the default for clients that name none.
        secret_keys: newest first; the newest writes, all read.
        allow_fake_idp: lets the fake upstream serve an issuer that is not loopback (test installations).
        scopes: all that can be granted.
        default_scopes: what is granted to a client that asks for nothing.
        access_tokens: `jwt` lets resource servers verify without asking, for ten minutes at most.
        rate_limits: whether requests are counted and refused.
    """

    issuer: str
    resources: tuple[str, ...]
    secret_keys: tuple[str, ...]
    allow_fake_idp: bool = False
    scopes: tuple[str, ...] = SCOPES
    default_scopes: tuple[str, ...] = ("mcp",)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    clients: tuple[StaticClient, ...] = ()
    trusted_issuers: tuple[TrustedIssuer, ...] = ()
    access_tokens: Literal["opaque", "jwt"] = "opaque"
    rate_limits: bool = True
    max_unused_clients: int = 10_000

    def __post_init__(self) -> None:
        _check_issuer(self.issuer, self.allow_fake_idp)
        if not self.resources:
            raise ConfigurationError("resources: empty; name at least one resource that tokens are for")
        if not self.secret_keys or not all(self.secret_keys):
            raise ConfigurationError("SECRET_KEY: empty; give at least one key, newest first")
        if not set(self.default_scopes) <= set(self.scopes):
            raise ConfigurationError("default_scopes: holds a scope that is not among the supported ones")

    @property
    def base(self) -> str:
        """The issuer without a trailing slash: what endpoint addresses start with."""
        return self.issuer.rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server by https."""
        return self.issuer.startswith("https:")

    @property
    def origin(self) -> str:
        """Scheme and authority of the issuer, as a browser's `Origin` shows it."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}".lower()


def _check_issuer(issuer: str, anywhere: bool) -> None:
    parts = urlsplit(issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"issuer: {issuer!r} is not an http(s) address without query and fragment")
    if parts.scheme == "http" and not anywhere and not is_loopback(parts.hostname):
        raise ConfigurationError(f"issuer: {issuer!r} must be https, as it is not loopback")
