"""The authorization server's settings made of what the environment says: of its own process, or of the MCP server's.

Both processes have the same model (`SharedSettings`), and `issuing` reads it for both, so a setting means one thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from pydantic import Field

from auth_server.scopes import SCOPES
from auth_server.settings import AuthSettings, GithubSettings, OidcSettings, StaticClient, TrustedIssuer
from switchboard.common.client_auth.by_key import signing_key
from switchboard.common.shared_settings import Items, SharedSettings, load
from switchboard.errors import ConfigurationError
from switchboard.state import State, open_state

T = TypeVar("T", StaticClient, TrustedIssuer)

RESOURCE_PATHS: Final = ("/mcp", "/sse")
"""What an MCP server of ours serves: the endpoint, and the old transport's."""

_FAKE_ADMINS: Final = ("admin",)
"""Who may grant `admin` at the fake identity provider that only this machine reaches, unless ADMINS says otherwise."""

log = structlog.get_logger("auth_server")


class Environment(SharedSettings):
    """The settings of the authorization server in a process of its own."""

    auth_server_host: str | None = Field(None, description="address to listen on; HOST when not set")
    resource_urls: Items = Field(
        (), description="all resources that tokens are for; BASE_URI's /mcp and /sse when not set"
    )

    @property
    def listens_on(self) -> str:
        """See the base class."""
        return self.auth_server_host or self.host

    @cached_property
    def auth(self) -> AuthSettings:
        """What the server is told.

        Raises:
            ConfigurationError: see `issuing`.
        """
        issuer = self.auth_server_url or f"http://localhost:{self.auth_server_port}"
        return issuing(self, issuer, self.resource_urls or [self.base_uri + path for path in RESOURCE_PATHS])

    def opened(self) -> AbstractAsyncContextManager[State]:
        """The shared state, for as long as the block runs."""
        return open_state(
            self.state_url,
            prefix=self.redis_prefix,
            connections=self.redis_max_connections,
            wait_replicas=self.redis_wait_replicas,
            wait_ms=self.redis_wait_ms,
        )


def read(env_file: str | None = ".env", **given: Any) -> Environment:
    """The settings of this process.

    Raises:
        ConfigurationError: one line that names the variable and what is allowed, and holds no secret.
    """
    found = load(Environment, env_file, **given)
    _ = found.auth  # wrong ones are found at the start
    if "secret_key" not in found.model_fields_set:
        log.warning(
            "secret_key.generated",
            why="SECRET_KEY is not set: resource servers cannot ask about tokens, and a restart ends all of them",
        )
    return found


def issuing(found: SharedSettings, issuer: str, resources: Sequence[str]) -> AuthSettings:
    """The authorization server's settings, for this issuer and these resources.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    return AuthSettings(
        issuer=issuer,
        resources=tuple(resources),
        secret_keys=found.key_ring,
        allow_fake_idp=found.allow_fake_idp,
        rate_limits=found.rate_limit > 0,
        access_tokens=found.access_tokens,
        upstream=_upstream(found),
        scopes=tuple(dict.fromkeys((*SCOPES, *found.extra_scopes))),
        admins=found.admins or _FAKE_ADMINS * (found.upstream == "fake" and not found.allow_fake_idp),
        clients=_each(StaticClient, found.auth_clients, "AUTH_CLIENTS"),
        trusted_issuers=_each(TrustedIssuer, found.trusted_issuers, "TRUSTED_ISSUERS"),
    )


def _upstream(found: SharedSettings) -> OidcSettings | GithubSettings | None:
    if found.upstream == "fake":
        return None
    by_key = found.upstream == "oidc" and found.upstream_client_auth == "private_key_jwt"
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
