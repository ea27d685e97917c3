"""What both processes read of the environment: the MCP server, and the authorization server in it or beside it.

Each has a model of its own that begins with this one, so a setting of the authorization server is written once. Every
field is an environment variable of the same name in capitals; an empty value means "not set".
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from switchboard.common.hosts import HostPatterns, OriginPatterns, is_loopback
from switchboard.common.validation_messages import expected
from switchboard.errors import ConfigurationError

MAKE_A_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
EXAMPLE_KEY = "for-trying-it-out-on-this-machine-only"
"""How the key begins that our example files carry, and which everybody therefore knows."""

SHORTEST_KEY = 32
"""Bytes: the size of the digest that the keys are used with (RFC 2104 §3)."""

_REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)


def _items(value: Any) -> Any:
    """A list as people write it in the environment: comma-separated, or a JSON array."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [item.strip() for item in value.split(",") if item.strip()]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("starts like a JSON array but is not one") from None


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be JSON") from None


def patterns(kind: type[HostPatterns] | type[OriginPatterns]) -> AfterValidator:
    """Checks that every item is a pattern of this kind."""

    def checked(values: tuple[str, ...]) -> tuple[str, ...]:
        kind(values)
        return values

    return AfterValidator(checked)


def _networks(values: Any) -> Any:
    return [ip_network(value, strict=False) if isinstance(value, str) else value for value in _items(values)]


def _long_enough(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(key.get_secret_value().encode()) < SHORTEST_KEY for key in keys):
        raise ValueError(f"each key must have {SHORTEST_KEY} bytes or more; make one with: {MAKE_A_KEY}")
    return keys


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an http or https URL without user, query or fragment")
    return value


def _plain_path(value: str) -> str:
    """Of this path the routes are made, and clients, proxies and browsers must all write it the same way."""
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", urlsplit(value).path):
        raise ValueError("its path may have letters, digits, - _ ~ and . only, and no empty parts")
    return value


def _redis_url(value: SecretStr) -> SecretStr | None:
    scheme = urlsplit(value.get_secret_value()).scheme
    if scheme == "memory":
        return None
    if scheme not in _REDIS_SCHEMES:
        kinds = ", ".join(f"{each}://" for each in _REDIS_SCHEMES)
        raise ValueError(f"must start with one of {kinds}, or be left empty for memory://")
    return value


def lower(value: Any) -> Any:
    """Capitals make no difference."""
    return value.strip().lower() if isinstance(value, str) else value


def _ephemeral(data: Mapping[str, Any]) -> tuple[SecretStr, ...]:
    """Without Redis nothing outlives this process, so its key need not either."""
    return () if data.get("redis_url") else (SecretStr(secrets.token_urlsafe(SHORTEST_KEY)),)


Items = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]
KeyRing = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items), AfterValidator(_long_enough)]
Json = (NoDecode, BeforeValidator(_json))
Names = Annotated[dict[str, str] | None, *Json]
Objects = Annotated[tuple[dict[str, Any], ...], *Json]
Url = Annotated[str, AfterValidator(_http_url)]
BaseUri = Annotated[
    str, AfterValidator(_http_url), AfterValidator(lambda value: value.rstrip("/")), AfterValidator(_plain_path)
]


class SharedSettings(BaseSettings):
    """What both processes read. Descriptions are what `.env.example` and error messages say."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    port: int = Field(3232, ge=1, le=65535, description="port to listen on, 1 to 65535")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    base_uri: BaseUri = Field(
        default_factory=lambda data: f"http://localhost:{data.get('port', 3232)}",
        description="the URL by which clients reach this server, as one hostname for all workers; may have a path",
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="redis://[user:password@]host:port/db, rediss://, unix://, redis+cluster:// or redis+sentinel://;"
        " empty keeps state in memory",
    )
    redis_max_connections: int = Field(
        64, ge=4, le=10_000, description="connections of a worker to Redis for commands, 4 to 10000"
    )
    redis_wait_replicas: int = Field(
        0, ge=0, le=10, description="replicas that must have a session, a last frame or a token before it is answered"
    )
    redis_wait_ms: int = Field(100, ge=1, le=4000, description="milliseconds to wait for them, 1 to 4000")
    redis_prefix: str = Field("", pattern=r"^[^\s{}]*$", description="put before every key; no spaces or braces")
    secret_key: KeyRing = Field(
        default_factory=_ephemeral,
        description="keys of the fleet, the newest first; each 32 bytes or more; needed with Redis",
    )
    auth_server_url: Url | None = Field(
        None, description="the issuer as clients see it: of the authorization server on its own, or in separate mode"
    )
    auth_server_port: int = Field(3001, ge=1, le=65535, description="port of the authorization server on its own")
    access_tokens: Literal["opaque", "jwt"] = Field("opaque", description="opaque or jwt")
    upstream: Literal["fake", "oidc", "github"] = Field("fake", description="who signs people in: fake, oidc, github")
    upstream_issuer: Url | None = Field(None, description="issuer of the OpenID provider, exactly as it writes it")
    upstream_client_id: str | None = Field(None, description="our client id at the upstream")
    upstream_client_secret: SecretStr | None = Field(None, description="our client secret at the upstream")
    upstream_client_auth: Literal["basic", "post", "private_key_jwt"] | None = Field(
        None, description="basic, post or private_key_jwt; empty goes by the upstream's metadata"
    )
    upstream_client_key_file: Path | None = Field(None, description="private key for private_key_jwt, PEM or JWK")
    upstream_scopes: Items = Field(("openid", "offline_access"), description="what to ask the OpenID provider for")
    upstream_subject_claim: str = Field("sub", description="the claim that identifies a person for good")
    upstream_groups_claim: str = Field("groups", description="the claim that holds a person's groups")
    upstream_group_scopes: Annotated[dict[str, tuple[str, ...]] | None, *Json] = Field(
        None, description='JSON object, group to scopes, "*" for everybody'
    )
    admins: Items = Field((), description="subjects of the people who may grant admin, besides those whose groups may")
    extra_scopes: Items = Field(
        (), description="scopes of your own that can be granted: what tools' configuration asks for"
    )
    auth_clients: Objects = Field((), description="JSON array of clients that need not register")
    trusted_issuers: Objects = Field((), description="JSON array of providers whose identity assertions are taken")
    allow_fake_idp: bool = Field(
        False, description="true lets the fake identity provider be reached from other machines"
    )
    allowed_hosts: Annotated[Items, patterns(HostPatterns)] = Field(
        (), description="Host headers to answer: name, name:port, *.name; empty: BASE_URI's, and loopback when local"
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), description="addresses or networks whose X-Forwarded-* and Forwarded headers count"
    )
    rate_limit: int = Field(6000, ge=0, description="requests a minute for each principal; 0 switches limits off")
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower)] = Field(
        "info", description="debug, info, warning, error or critical"
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(lower)] = Field(
        "auto", description="json, console, or auto: console on a terminal"
    )

    @property
    def state_url(self) -> str | None:
        """The Redis URL in clear, or `None` for `memory://`."""
        return self.redis_url.get_secret_value() if self.redis_url else None

    @property
    def key_ring(self) -> tuple[str, ...]:
        """The fleet's keys in clear, the newest first; never empty."""
        return tuple(key.get_secret_value() for key in self.secret_key)

    @property
    def listens_on(self) -> str:
        """The address that the process listens on."""
        return self.host

    @property
    def issues_tokens(self) -> bool:
        """Whether the authorization server runs in this process."""
        return True

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for applies, message in (*self.rules(), *_RULES):
            if applies(self):
                raise ValueError(message(self))
        return self

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What contradicts itself in the settings of one process, before what does in those of both."""
        return ()


Rule = tuple[Callable[[Any], object], Callable[[Any], str]]
"""Whether settings contradict each other, and what to say of it."""


def is_public(s: SharedSettings) -> bool:
    """Whether the MCP server is called by a name that is not this machine's."""
    return not is_loopback(urlsplit(s.base_uri).hostname or "")


def _fake_idp_is_reached(s: SharedSettings) -> bool:
    return s.issues_tokens and s.upstream == "fake" and not s.allow_fake_idp and not is_loopback(s.listens_on)


def _upstream_lacks(s: SharedSettings) -> list[str]:
    """What is not set of that by which the identity provider knows this server."""
    needed = {"github": ("client_id", "client_secret"), "oidc": ("issuer", "client_id", "client_secret")}
    if s.upstream_client_auth == "private_key_jwt":
        needed["oidc"] = ("issuer", "client_id", "client_key_file")
    names = [f"upstream_{name}" for name in needed.get(s.upstream, ())] if s.issues_tokens else []
    return [name.upper() for name in names if not getattr(s, name)]


_RULES: Final[Sequence[Rule]] = (
    (
        lambda s: s.redis_url and not s.secret_key,
        lambda _: f"SECRET_KEY is not set, but REDIS_URL is: processes must share a key. Make one with: {MAKE_A_KEY}",
    ),
    (
        lambda s: is_public(s) and any(key.startswith(EXAMPLE_KEY) for key in s.key_ring),
        lambda s: (
            f"SECRET_KEY is the one of our example files, which everybody knows, but BASE_URI={s.base_uri} is public:"
            f" make one of your own with: {MAKE_A_KEY}"
        ),
    ),
    (
        _fake_idp_is_reached,
        lambda s: (
            f"HOST={s.listens_on} lets other machines in, and at the fake identity provider anybody there signs in as"
            " anyone: use a loopback HOST, UPSTREAM=oidc, or ALLOW_FAKE_IDP=true for a test"
        ),
    ),
    (
        _upstream_lacks,
        lambda s: f"UPSTREAM is {s.upstream}, but not set: {', '.join(_upstream_lacks(s))}",
    ),
)


S = TypeVar("S", bound=SharedSettings)


def load(model: type[S], env_file: Path | str | None = ".env", **given: Any) -> S:
    """Settings from `given` (what the command line says), the environment and `env_file`, in this order.

    Raises:
        ConfigurationError: a value is wrong; the message is one line, and holds no secret.
    """
    said = {name: value for name, value in given.items() if value is not None}
    try:
        return model(_env_file=env_file, **said)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A default that is made of another setting cannot be made while that one is wrong, which is said itself.
        lines = (_line(model, each) for each in found if each["type"] != "default_factory_not_called")
        raise ConfigurationError("; ".join(lines)) from None


def _line(model: type[SharedSettings], error: ErrorDetails) -> str:
    if not error["loc"]:
        return expected(error)
    name = str(error["loc"][0])
    shown = _HIDDEN.get(name, repr)(error["input"])
    return f"{name.upper()} is {shown}: {expected(error)} ({model.model_fields[name].description})"


def _length(value: Any) -> str:
    return f"{len(str(value))} characters long"


def _scheme(value: Any) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    scheme, separator, _ = text.partition("://")
    return f"{scheme}://…" if separator else f"{len(text)} characters without ://"


_HIDDEN: Mapping[str, Callable[[Any], str]] = {
    "secret_key": _length,
    "vault_keys": _length,
    "vault_token": _length,
    "azure_client_secret": _length,
    "introspection_client_secret": _length,
    "sign_in_client_secret": _length,
    "upstream_client_secret": _length,
    "auth_clients": _length,
    "redis_url": _scheme,
}
"""How the settings that hold a secret are described, instead of shown."""
