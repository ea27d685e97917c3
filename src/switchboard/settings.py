"""The environment, read once: one frozen `Settings`, or one clear line about what is wrong.

Only the composition root and the command line read this. Every field is an environment variable of the same name in
capitals; `.env` is read too, and the environment wins. An empty value means "not set". `.env.example` lists them all,
and a test holds it equal to this file.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from switchboard.common.hosts import HostPatterns, OriginPatterns
from switchboard.common.loopback import is_loopback
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


def _patterns(kind: type[HostPatterns] | type[OriginPatterns]) -> AfterValidator:
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


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _ephemeral(data: Mapping[str, Any]) -> tuple[SecretStr, ...]:
    """Without Redis nothing outlives this process, so its key need not either."""
    return () if data.get("redis_url") else (SecretStr(secrets.token_urlsafe(SHORTEST_KEY)),)


Items = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]
Json = (NoDecode, BeforeValidator(_json))
Names = Annotated[dict[str, str] | None, *Json]
Objects = Annotated[tuple[dict[str, Any], ...], *Json]
Url = Annotated[str, AfterValidator(_http_url)]
BaseUri = Annotated[
    str, AfterValidator(_http_url), AfterValidator(lambda value: value.rstrip("/")), AfterValidator(_plain_path)
]


class Settings(BaseSettings):
    """Everything that can be set from outside. Descriptions are what `.env.example` and error messages say."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    port: int = Field(3232, ge=1, le=65535, description="port to listen on, 1 to 65535")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    base_uri: BaseUri = Field(
        default_factory=lambda data: f"http://localhost:{data.get('port', 3232)}",
        description="the URL by which clients reach this server, as one hostname for all workers; may have a path",
    )
    workers: int = Field(1, ge=1, le=256, description="processes that serve the port, 1 to 256")
    config_file: Path | None = Field(None, description="YAML, JSON or TOML file with plugins and mcpServers")
    config_overrides: str = Field("", description="JSON object laid over the configuration file (RFC 7396)")
    cache_dir: Path = Field(
        default_factory=lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "switchboard",
        description="folder for what is installed to run servers",
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
    secret_key: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items), AfterValidator(_long_enough)] = (
        Field(
            default_factory=_ephemeral,
            description="keys of the fleet, the newest first; each 32 bytes or more; needed with Redis",
        )
    )
    session_ttl: int = Field(300, ge=1, le=604800, description="seconds an idle session lives, 1 to 604800")

    auth_mode: Annotated[Literal["integrated", "separate", "none"], BeforeValidator(_lower)] = Field(
        "integrated", description="integrated, separate or none"
    )
    auth_server_url: Url | None = Field(None, description="issuer URL of the authorization server in separate mode")
    auth_server_port: int = Field(3001, ge=1, le=65535, description="port of the standalone authorization server")
    introspection_url: Url | None = Field(
        None, description="where tokens are introspected in separate mode; empty asks the issuer's metadata"
    )
    introspection_client_id: str | None = Field(None, description="client id for introspection in separate mode")
    introspection_client_secret: SecretStr | None = Field(None, description="client secret for introspection")
    token_validation: Annotated[Literal["introspection", "jwt", "auto"], BeforeValidator(_lower)] = Field(
        "introspection", description="introspection, jwt, or auto: JWTs by the issuer's keys, others by introspection"
    )
    token_audiences: Items = Field((), description="what aud must hold one of; this server's own URLs when not set")
    token_clients: Items = Field((), description="the only clients whose tokens count; they may then lack an audience")
    subject_claim: str = Field("sub", min_length=1, description="the claim that identifies a person for good")
    scope_claims: Items = Field(("scope", "scp", "roles"), description="the claims that hold scopes")
    client_claims: Items = Field(("client_id", "azp", "cid"), description="the claims that may hold the client's id")
    required_claims: Names = Field(None, description="JSON object of claims and the values they must have")
    scope_map: Names = Field(None, description="JSON object, the issuer's names for scopes to ours")

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
    allow_insecure_no_auth: bool = Field(False, description="true lets AUTH_MODE=none be reached from other machines")
    allow_fake_idp: bool = Field(
        False, description="true lets the fake identity provider be reached from other machines"
    )

    allowed_hosts: Annotated[Items, _patterns(HostPatterns)] = Field(
        (), description="Host headers to answer: name, name:port, *.name; empty: BASE_URI's, and loopback when local"
    )
    allowed_origins: Annotated[Items, _patterns(OriginPatterns)] = Field(
        (), description="browser origins that may call: https://app.example.com, http://localhost:*; empty: as above"
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), description="addresses or networks whose X-Forwarded-* and Forwarded headers count"
    )
    rate_limit: int = Field(6000, ge=0, description="requests a minute for each principal; 0 switches limits off")
    max_sessions: int = Field(20_000, ge=1, description="handshake sessions one principal may have, 1 or more")
    max_streams: int = Field(20_000, ge=1, description="streams one principal may hold open, 1 or more")
    max_requests: int = Field(256, ge=1, description="requests of one session that may run at once on a worker")
    max_stream_bytes: int = Field(
        16 * 1024 * 1024, ge=65_536, description="bytes of messages one stream keeps for replay, 65536 or more"
    )
    max_parked: int = Field(
        50, ge=1, description="calls of one principal that may wait for its answers on a worker, 1 or more"
    )
    task_ttl: int = Field(3600, ge=1, le=604800, description="seconds a task may run and be asked about, 1 to 604800")
    max_tasks: int = Field(50, ge=1, le=1000, description="tasks of one principal that may run on a worker, 1 to 1000")
    max_loop_lag: float = Field(
        5.0, ge=0, description="seconds the event loop may lag before requests are refused with 503; 0 for no limit"
    )
    max_memory_mb: int = Field(0, ge=0, description="MiB a worker may hold before it refuses with 503; 0 for no limit")
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="the largest request body, 1024 or more")
    drain_timeout: int = Field(
        25, ge=0, le=3600, description="seconds to finish running requests and tasks at shutdown"
    )

    drain_grace: int = Field(
        3, ge=0, le=600, description="seconds a worker on Redis still takes requests after SIGTERM, for the balancer"
    )

    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="debug, info, warning, error or critical"
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)] = Field(
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
    def base_path(self) -> str:
        """What all paths of this server start with; empty when it has its host for itself."""
        return urlsplit(self.base_uri).path

    @property
    def mcp_url(self) -> str:
        """The endpoint, which is also the `resource` that tokens are bound to."""
        return f"{self.base_uri}/mcp"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server, going by what it listens on and is called."""
        return is_loopback(self.host) and is_loopback(urlsplit(self.base_uri).hostname or "")

    @model_validator(mode="after")
    def _holds_together(self) -> Settings:
        for applies, message in _CONTRADICTIONS:
            if applies(self):
                raise ValueError(message(self))
        return self


def _is_public(s: Settings) -> bool:
    return not is_loopback(urlsplit(s.base_uri).hostname or "")


def _fake_idp_is_public(s: Settings) -> bool:
    return s.auth_mode == "integrated" and s.upstream == "fake" and _is_public(s) and not s.allow_fake_idp


def _fake_idp_is_reached(s: Settings) -> bool:
    """Whether other machines reach it although the server is called by a name of this one."""
    fake = s.auth_mode == "integrated" and s.upstream == "fake" and not s.allow_fake_idp
    return fake and not is_loopback(s.host) and not _is_public(s)


def _upstream_lacks(s: Settings) -> list[str]:
    """What is not set of that by which an upstream knows us; the standalone server checks its own."""
    needed = {"github": ("client_id", "client_secret"), "oidc": ("issuer", "client_id", "client_secret")}
    if s.upstream_client_auth == "private_key_jwt":
        needed["oidc"] = ("issuer", "client_id", "client_key_file")
    names = [f"upstream_{name}" for name in needed.get(s.upstream, ())] if s.auth_mode == "integrated" else []
    return [name.upper() for name in names if not getattr(s, name)]


_CONTRADICTIONS: tuple[tuple[Callable[[Settings], object], Callable[[Settings], str]], ...] = (
    (
        lambda s: s.redis_url and not s.secret_key,
        lambda _: f"SECRET_KEY is not set, but REDIS_URL is: workers must share a key. Make one with: {MAKE_A_KEY}",
    ),
    (
        lambda s: _is_public(s) and any(key.startswith(EXAMPLE_KEY) for key in s.key_ring),
        lambda s: (
            f"SECRET_KEY is the one of our example files, which everybody knows, but BASE_URI={s.base_uri} is public:"
            f" make one of your own with: {MAKE_A_KEY}"
        ),
    ),
    (
        lambda s: s.workers > 1 and not s.redis_url,
        lambda s: (
            f"WORKERS is {s.workers}, but state is memory://, which one process cannot share: start Redis"
            " (`docker compose up -d`) and set REDIS_URL and SECRET_KEY, or set WORKERS=1"
        ),
    ),
    (
        lambda s: s.auth_mode == "separate" and not s.auth_server_url,
        lambda _: "AUTH_SERVER_URL is not set, but AUTH_MODE is separate: set it to the issuer's URL",
    ),
    (
        lambda s: s.auth_mode == "none" and not s.is_local and not s.allow_insecure_no_auth,
        lambda s: (
            f"AUTH_MODE is none, but HOST={s.host} and BASE_URI={s.base_uri} reach beyond this machine: anybody could"
            " use the server. Use AUTH_MODE=integrated, a loopback HOST and BASE_URI, or ALLOW_INSECURE_NO_AUTH=true"
        ),
    ),
    (
        _fake_idp_is_public,
        lambda s: (
            f"BASE_URI={s.base_uri} is public, but the fake identity provider lets anybody sign in as anyone:"
            " use UPSTREAM=oidc, AUTH_MODE=separate with a real issuer, or ALLOW_FAKE_IDP=true for a test"
        ),
    ),
    (
        _fake_idp_is_reached,
        lambda s: (
            f"HOST={s.host} lets other machines in, and at the fake identity provider anybody there signs in as anyone:"
            " use a loopback HOST, UPSTREAM=oidc, or ALLOW_FAKE_IDP=true for a test"
        ),
    ),
    (
        _upstream_lacks,
        lambda s: f"UPSTREAM is {s.upstream}, but not set: {', '.join(_upstream_lacks(s))}",
    ),
)


def load_settings(env_file: Path | str | None = ".env", **given: Any) -> Settings:
    """Settings from `given` (what the command line says), the environment and `env_file`, in this order.

    Raises:
        ConfigurationError: a value is wrong; the message is one line, and holds no secret.
    """
    said = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(_env_file=env_file, **said)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A default that is made of another setting cannot be made while that one is wrong, which is said itself.
        raise ConfigurationError("; ".join(_line(each) for each in found if each["type"] not in _FOLLOWING)) from None


_FOLLOWING = frozenset({"default_factory_not_called"})


def _line(error: ErrorDetails) -> str:
    if not error["loc"]:
        return expected(error)
    name = str(error["loc"][0])
    shown = _HIDDEN.get(name, repr)(error["input"])
    return f"{name.upper()} is {shown}: {expected(error)} ({Settings.model_fields[name].description})"


def _length(value: Any) -> str:
    return f"{len(str(value))} characters long"


def _scheme(value: Any) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    scheme, separator, _ = text.partition("://")
    return f"{scheme}://…" if separator else f"{len(text)} characters without ://"


_HIDDEN: Mapping[str, Callable[[Any], str]] = {
    "secret_key": _length,
    "introspection_client_secret": _length,
    "upstream_client_secret": _length,
    "auth_clients": _length,
    "redis_url": _scheme,
}
"""How the settings that hold a secret are described, instead of shown."""
