"""What is stored, as frozen values: clients, pending authorizations, grants. Raw strings, never normalized URLs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a grant type's name
CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client, however it came to be known: registered, by metadata document, or by settings."""

    id: str
    redirect_uris: tuple[str, ...] = ()
    name: str = ""
    auth_method: str = "none"
    secret_mac: str = ""
    grant_types: tuple[str, ...] = (AUTHORIZATION_CODE, REFRESH_TOKEN)
    scope: str = ""
    application_type: str = "native"
    uri: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    software_id: str = ""
    software_version: str = ""
    issued_at: int = 0
    trusted: bool = False
    """Known by settings: its scopes are a ceiling, and it may be a machine."""
    manage_mac: str = ""
    """The HMAC of its registration access token (RFC 7592)."""
    fresh_for: int = 0
    """Seconds that its document may be kept, right after it was fetched."""

    @property
    def confidential(self) -> bool:
        """Whether it can authenticate."""
        return self.auth_method != "none"


@dataclass(frozen=True, slots=True)
class Pending:
    """An authorization request that was checked, on its way through consent and login."""

    client_id: str
    redirect_uri: str
    challenge: str
    scope: str
    resource: str
    state: str | None
    browser: str
    """The HMAC of the browser's cookie, which must be sent to continue."""
    started: float


@dataclass(frozen=True, slots=True)
class GrantOwner:
    """By what an authorization can be revoked."""

    subject: str
    client_id: str
    aliases: tuple[str, ...] = ()
    """Other names of the person or the login at the identity provider, for its logout."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed a client: the facts behind every token of a family."""

    subject: str
    client_id: str
    scope: str
    resource: str
    created: float
    redirect_uri: str = ""
    challenge: str = ""
    cuts: tuple[str, ...] = ()
    """The revocation marks that stood when it began; see `store.revocation`."""
    upstream: str = ""
    """What the connector needs to ask again at refresh, sealed with everything else."""
    aliases: tuple[str, ...] = ()
    """See `GrantOwner`."""

    @property
    def who(self) -> GrantOwner:
        """By what it can be revoked."""
        return GrantOwner(self.subject, self.client_id, self.aliases)

    def scopes(self) -> frozenset[str]:
        """The granted scopes as a set."""
        return frozenset(self.scope.split())


@dataclass(frozen=True, slots=True)
class Identity:
    """A signed-in person. `subject` is stable and never an e-mail address that could change hands."""

    subject: str
    kept: str = ""
    """What the connector needs to ask again at refresh."""
    scopes: frozenset[str] | None = None
    """What this person may grant; `None` for everything."""
    aliases: tuple[str, ...] = ()
    """Other names of the person or the login at the identity provider, for its logout."""
    id_token: str = field(default="", repr=False)
    """What the identity provider said of the person, signed, if it speaks OpenID Connect."""


KeepIdToken = Callable[[str, str], Awaitable[None]]
"""Keeps the ID token of a subject for whoever runs this server; it was verified, and must not raise."""


async def keep_nothing(_subject: str, _id_token: str) -> None:
    """Where nobody wants ID tokens."""


ResourcesOf = Callable[[str], Collection[str]]
"""For what a client, by its id, may exchange tokens besides the resources of the settings; asked at each exchange."""


def no_others(_client_id: str) -> Collection[str]:
    """Where that is nothing."""
    return ()


T = TypeVar("T", Client, Pending, Grant)


def dump(value: Client | Pending | Grant) -> bytes:
    """JSON of a stored value."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":")).encode()


def load(kind: type[T], data: bytes | str) -> T:
    """A stored value from its JSON; members that a newer version added are ignored."""
    names = {item.name for item in dataclasses.fields(kind)}
    stored: dict[str, Any] = json.loads(data)
    members: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items() if key in names}
    return kind(**members)
