"""The standalone process's own settings: environment and `.env`, read once into plain values."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import structlog
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from auth_server.connectors.client import signing_key
from auth_server.scopes import SCOPES
from auth_server.settings import AuthSettings, GithubSettings, OidcSettings, StaticClient, TrustedIssuer
from switchboard.common.hosts import HostPatterns
from switchboard.common.loopback import is_loopback
from switchboard.common.validation_messages import expected
from switchboard.errors import ConfigurationError
from switchboard.state import State, open_state

T = TypeVar("T", StaticClient, TrustedIssuer)

SHORTEST_KEY = 32
EXAMPLE_KEY = "for-trying-it-out-on-this-machine-only"
"""How the key begins that our example files carry, and which everybody therefore knows."""

RESOURCE_PATHS = ("/mcp", "/sse")
"""What an MCP server of ours serves: the endpoint, and the old transport's."""

_FAKE_ADMINS = ("admin",)
"""Who may grant `admin` at the fake identity provider that only this machine reaches, unless ADMINS says otherwise."""

NEW_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'

log = structlog.get_logger("auth_server")


def _items(value: Any) -> Any:
    """Comma-separated, or a JSON array."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


def _networks(value: Any) -> Any:
    return tuple(str(ipaddress.ip_network(item, strict=False)) for item in _items(value))


def _hosts(value: Any) -> Any:
    found = tuple(_items(value))
    HostPatterns(found)
    return found


Items = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]


class Environment(BaseSettings):
    """What may be set. A variable without a value counts as not set."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, frozen=True)

    auth_server_host: str | None = Field(None, description="address to listen on; HOST when not set")
    host: str = Field("127.0.0.1", description="address to listen on")
    auth_server_port: int = Field(3001, ge=1, le=65535, description="port to listen on, 1 to 65535")
    auth_server_url: str | None = Field(None, description="the issuer: the URL by which everybody reaches this server")
    base_uri: str = Field("http://localhost:3232", description="the URL of the MCP server that tokens are for")
    resource_urls: Items = Field(
        (), description="all resources that tokens are for; BASE_URI's /mcp and /sse when not set"
    )
    redis_url: SecretStr | None = Field(None, description="redis://host:port/db; empty keeps everything in memory")
    redis_max_connections: int = Field(64, ge=4, le=10_000, description="connections to Redis for commands")
    redis_wait_replicas: int = Field(0, ge=0, le=10, description="replicas that must have a token before it is sent")
    redis_wait_ms: int = Field(100, ge=1, le=4000, description="milliseconds to wait for them")
    redis_prefix: str = Field("", pattern=r"^[^\s{}]*$", description="put before every key")
    secret_key: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items)] = Field(
        (), description="keys of the fleet, the newest first, 32 bytes or more each"
    )
    allow_fake_idp: bool = Field(
        False, description="true lets the fake identity provider be reached from other machines"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), description="addresses or networks whose X-Forwarded-* headers count"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)] = Field(
        (), description="Host headers to answer besides the issuer's: name, name:port, *.name"
    )
    rate_limit: int = Field(6000, ge=0, description="0 switches rate limits off")
    access_tokens: Literal["opaque", "jwt"] = Field("opaque", description="opaque or jwt")
    upstream: Literal["fake", "oidc", "github"] = Field("fake", description="who signs people in: fake, oidc, github")
    upstream_issuer: str | None = Field(None, description="issuer of the OpenID provider, exactly as it writes it")
    upstream_client_id: str | None = Field(None, description="this server's client id at the upstream")
    upstream_client_secret: SecretStr | None = Field(None, description="this server's client secret at the upstream")
    upstream_client_auth: Literal["basic", "post", "private_key_jwt"] | None = Field(
        None,
        description="basic, post or private_key_jwt: how the upstream is told who we are; empty goes by its metadata",
    )
    upstream_client_key_file: Path | None = Field(
        None, description="private key for private_key_jwt, PEM or JWK, whose public half the upstream knows"
    )
    upstream_scopes: Items = Field(("openid", "offline_access"), description="what to ask the OpenID provider for")
    upstream_subject_claim: str = Field("sub", description="the claim that identifies a person for good")
    upstream_groups_claim: str = Field("groups", description="the claim that holds a person's groups")
    upstream_group_scopes: dict[str, tuple[str, ...]] | None = Field(
        None,
        description='JSON object, group to scopes, "*" for everybody; without it everybody may grant all but admin',
    )
    admins: Items = Field((), description="subjects of the people who may grant admin, besides those whose groups may")
    extra_scopes: Items = Field(
        (), description="scopes of your own that can be granted: what tools' configuration asks for"
    )
    auth_clients: tuple[dict[str, Any], ...] = Field(
        (), description="JSON array of clients that need not register: id, secret or jwks, grant_types, scope, …"
    )
    trusted_issuers: tuple[dict[str, Any], ...] = Field(
        (), description="JSON array of providers whose identity assertions are taken: issuer, jwks_uri, same_people"
    )
    log_level: str = Field("info", pattern="(?i)^(debug|info|warning|error|critical)$", description="debug to critical")
    log_format: str = Field("auto", pattern="^(auto|json|console)$", description="auto, json or console")


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """Everything the process needs."""

    auth: AuthSettings
    host: str
    port: int
    redis_url: str | None
    redis_prefix: str
    redis_max_connections: int
    redis_wait_replicas: int
    redis_wait_ms: int
    trusted_proxies: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    log_level: str
    log_format: str

    def opened(self) -> AbstractAsyncContextManager[State]:
        """The shared state, for as long as the block runs."""
        return open_state(
            self.redis_url,
            prefix=self.redis_prefix,
            connections=self.redis_max_connections,
            wait_replicas=self.redis_wait_replicas,
            wait_ms=self.redis_wait_ms,
        )


def read(env_file: str | None = ".env", **given: Any) -> StandaloneSettings:
    """The settings of this process.

    Raises:
        ConfigurationError: one line that names the variable and what is allowed, and holds no secret.
    """
    try:
        found = Environment(_env_file=env_file, **given)
    except ValidationError as error:
        raise ConfigurationError(
            "; ".join(_line(item["loc"], expected(item)) for item in error.errors(include_url=False))
        ) from None
    host = found.auth_server_host or found.host
    if found.upstream == "fake" and not is_loopback(host) and not found.allow_fake_idp:
        raise ConfigurationError(
            f"AUTH_SERVER_HOST={host} lets other machines in, and at the fake identity provider anybody there signs in"
            " as anyone: use a loopback address, UPSTREAM=oidc, or ALLOW_FAKE_IDP=true for a test"
        )
    redis_url = found.redis_url.get_secret_value() if found.redis_url else None
    if redis_url and redis_url.startswith("memory:"):
        redis_url = None
    return StandaloneSettings(
        auth=_auth(found, _keys(found, redis_url)),
        host=host,
        port=found.auth_server_port,
        redis_url=redis_url,
        redis_prefix=found.redis_prefix,
        redis_max_connections=found.redis_max_connections,
        redis_wait_replicas=found.redis_wait_replicas,
        redis_wait_ms=found.redis_wait_ms,
        trusted_proxies=found.trusted_proxies,
        allowed_hosts=found.allowed_hosts,
        log_level=found.log_level.lower(),
        log_format=found.log_format,
    )


def _auth(found: Environment, keys: tuple[str, ...]) -> AuthSettings:
    issuer = found.auth_server_url or f"http://localhost:{found.auth_server_port}"
    return AuthSettings(
        issuer=issuer,
        resources=found.resource_urls or tuple(found.base_uri.rstrip("/") + path for path in RESOURCE_PATHS),
        secret_keys=keys,
        allow_fake_idp=found.allow_fake_idp,
        rate_limits=found.rate_limit > 0,
        access_tokens=found.access_tokens,
        upstream=_upstream(found),
        scopes=tuple(dict.fromkeys((*SCOPES, *found.extra_scopes))),
        admins=found.admins or _FAKE_ADMINS * (found.upstream == "fake" and not found.allow_fake_idp),
        clients=_each(StaticClient, found.auth_clients, "AUTH_CLIENTS"),
        trusted_issuers=_each(TrustedIssuer, found.trusted_issuers, "TRUSTED_ISSUERS"),
    )


def _upstream(found: Environment) -> OidcSettings | GithubSettings | None:
    if found.upstream == "fake":
        return None
    by_key = found.upstream == "oidc" and found.upstream_client_auth == "private_key_jwt"
    proof = "upstream_client_key_file" if by_key else "upstream_client_secret"
    needed = ("upstream_client_id", proof) + (("upstream_issuer",) * (found.upstream == "oidc"))
    for name in needed:
        if not getattr(found, name):
            raise ConfigurationError(f"{name.upper()} is not set, but UPSTREAM is {found.upstream}")
    secret = found.upstream_client_secret.get_secret_value() if found.upstream_client_secret else ""
    if found.upstream == "github":
        return GithubSettings(client_id=found.upstream_client_id or "", client_secret=secret)
    return OidcSettings(
        issuer=found.upstream_issuer or "",
        client_id=found.upstream_client_id or "",
        client_secret=secret,
        client_auth=found.upstream_client_auth or "",
        client_key=_key(found.upstream_client_key_file) if by_key else "",
        scopes=found.upstream_scopes,
        subject_claim=found.upstream_subject_claim,
        groups_claim=found.upstream_groups_claim,
        group_scopes=found.upstream_group_scopes,
    )


def _key(file: Path | None) -> str:
    """The private key in the file; checked here, so that a wrong one is found at the start and not at a sign-in."""
    try:
        text = file.read_text() if file else ""
        signing_key(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"UPSTREAM_CLIENT_KEY_FILE is {file}: {error}") from None
    return text


def _each(kind: type[T], items: Iterable[dict[str, Any]], name: str) -> tuple[T, ...]:
    """Objects of the environment's JSON as values; a list becomes a tuple."""

    def made(item: dict[str, Any]) -> T:
        members: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in item.items()}
        return kind(**members)

    try:
        return tuple(made(item) for item in items)
    except TypeError as error:
        raise ConfigurationError(f"{name}: {error}".replace("__init__()", "an entry")) from None


def _keys(found: Environment, redis_url: str | None) -> tuple[str, ...]:
    keys = tuple(key.get_secret_value() for key in found.secret_key)
    if any(len(key.encode()) < SHORTEST_KEY for key in keys):
        raise ConfigurationError(f"SECRET_KEY: a key is shorter than {SHORTEST_KEY} bytes; make one with: {NEW_KEY}")
    if any(key.startswith(EXAMPLE_KEY) for key in keys) and not is_loopback(urlsplit(found.base_uri).hostname or ""):
        raise ConfigurationError(f"SECRET_KEY is the published example, but BASE_URI is public; make one: {NEW_KEY}")
    if not keys and redis_url:
        raise ConfigurationError(f"SECRET_KEY is not set, but REDIS_URL is: make one with: {NEW_KEY}")
    if not keys:
        log.warning("SECRET_KEY is not set: resource servers cannot ask about tokens, and a restart ends all of them")
    return keys or (secrets.token_urlsafe(SHORTEST_KEY),)


def _line(place: tuple[int | str, ...], message: str) -> str:
    name = str(place[0]) if place else "settings"
    field = Environment.model_fields.get(name)
    return f"{name.upper()}: {message} ({field.description})" if field else f"{name.upper()}: {message}"
