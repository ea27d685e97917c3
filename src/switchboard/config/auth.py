"""`auth` in a row of `mcpServers`: how calls to the server are authorized, a strategy with what it needs.

Each strategy has a row in `TAKES`, which says which fields mean something for it; another field is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from switchboard.config.exposure import STRICT, Scope, matching

Strategy = Literal["none", "service", "user_oauth", "token_exchange", "enterprise"]

STRATEGIES: Mapping[str, Strategy] = {
    "bypass_auth": "none",
    "proxy_oauth": "service",
    "delegate_oauth": "user_oauth",
    "master_oauth": "token_exchange",
}
"""Older names of a strategy → ours."""

PER_PERSON: Final = frozenset({"user_oauth", "token_exchange", "enterprise"})
"""Strategies by which each person has a credential of their own."""

VARIABLE: Final = matching(r"^[A-Za-z_][A-Za-z0-9_]*$", "is no name of a variable: letters, digits and '_' only")
HEADER: Final = matching(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "is no name of a header: letters, digits and '-' only")
VISIBLE: Final = matching(r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$", "must be visible ASCII characters on one line")

Headers = Mapping[Annotated[str, HEADER], str]
Secret = Annotated[str | None, Field(repr=False)]


class OAuthClient(BaseModel):
    """The gateway as a client of an authorization server."""

    model_config = STRICT

    client_id: str | None = None
    """The gateway's own, at the server's authorization server."""
    client_secret: Secret = None
    """Write it as `${VARIABLE}`."""
    private_key: Secret = None
    """Instead of a secret: a private key, PEM or JWK, with which the gateway signs who it is (`private_key_jwt`)."""
    issuer: str | None = None
    """The authorization server. Its metadata says where tokens are got; what is stated here is stronger."""
    token_url: str | None = None
    """Where tokens are got."""


class ServiceAuth(OAuthClient):
    """A credential of the gateway's own."""

    headers: Annotated[Headers, Field(repr=False)] = Field(default_factory=dict)
    """Sent as they are."""
    api_key: Annotated[str | None, Field(repr=False), VISIBLE] = None
    """A fixed key or token, sent as `Authorization: Bearer`, or in the header that `header` names."""
    header: Annotated[str | None, HEADER] = None
    """Which header has `api_key`, as it is."""
    username: str | None = None
    """For HTTP basic authentication …"""
    password: Secret = None
    """… with this password."""
    audience: str | None = None
    """For whom a token is to be."""
    resource: str | None = None
    """The same as a URL (RFC 8707). Default, without an `audience`: the server's URL; `""` for none."""
    scopes: tuple[Scope, ...] = ()
    """What a token is to be good for."""

    @model_validator(mode="after")
    def _is_whole(self) -> ServiceAuth:
        if type(self) is ServiceAuth and (mistakes := list(service_mistakes(self))):
            raise ValueError("; ".join(mistakes))
        return self


class IdentityProvider(OAuthClient):
    """The company's identity provider: a URL, or an object with these fields."""

    audience: str | None = None
    """For whom an assertion is to be. Default: `issuer` of the server's authorization server."""

    @model_validator(mode="before")
    @classmethod
    def _from_its_url(cls, given: Any) -> Any:
        return {"issuer": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_whole(self) -> IdentityProvider:
        if not self.issuer and not self.token_url:
            raise ValueError("needs 'issuer' or 'token_url'")
        return self


class Auth(ServiceAuth):
    """How calls to the server are authorized. The client's own token is never passed on."""

    strategy: Strategy = "none"
    """`service`: the gateway's own credential; `user_oauth`: each person connects an account there; `token_exchange`:
    the person's token is exchanged for one of that server (RFC 8693); `enterprise`: through the company's identity
    provider (ID-JAG: RFC 8693 there, RFC 7523 at the server's)."""

    env: Annotated[str | None, VARIABLE] = None
    """For a server that is started here: the variable of its environment that has the credential."""

    provider: str | None = None
    """`user_oauth`: whose accounts: `github`, `google` or `microsoft`. Without it `issuer` or the URLs are stated, or
    the server itself says who its authorization server is."""
    authorization_url: str | None = None
    """`user_oauth`: where people sign in, if no metadata says so."""
    revocation_url: str | None = None
    """`user_oauth`: where tokens are revoked, if no metadata says so."""

    subject: Literal["access_token", "id_token"] | None = None
    """`token_exchange`, `enterprise`: what is exchanged. Default: `access_token`, and `id_token` for `enterprise`."""
    idp: IdentityProvider | None = None
    """`enterprise`: the company's identity provider."""

    discovery: Literal["service", "person", "anonymous"] | None = None
    """With what the gateway asks what the server offers, where each person has a credential of their own: `service`
    with the one below; `person`: each person sees what the server offers to them, and before that the one tool
    `NAME__connect`; `anonymous` with none. Default: `service` if there is one, else `person`."""
    service: ServiceAuth | None = None
    """For `discovery: service`: the gateway's own credential."""

    @property
    def per_person(self) -> bool:
        """Whether each person has a credential of their own."""
        return self.strategy in PER_PERSON

    @property
    def discovers(self) -> Literal["service", "person", "anonymous"]:
        """With what the gateway asks what the server offers."""
        if not self.per_person:
            return "service"
        return self.discovery or ("service" if self.service is not None else "person")

    @model_validator(mode="after")
    def _fits_its_strategy(self) -> Auth:
        mistakes = list(_mistakes(self))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


_CLIENT: Final = frozenset(OAuthClient.model_fields)
_FIXED: Final = frozenset({"headers", "api_key", "header", "username", "password"})
_TOKEN: Final = frozenset({*_CLIENT, "audience", "resource", "scopes"})
_PERSON: Final = frozenset({*_TOKEN, "env", "discovery", "service"})

TAKES: Final[Mapping[Strategy, frozenset[str]]] = {
    "none": frozenset(),
    "service": frozenset({*_FIXED, *_TOKEN, "env"}),
    "user_oauth": frozenset({*_PERSON, "provider", "authorization_url", "revocation_url"}),
    "token_exchange": frozenset({*_PERSON, "subject"}),
    "enterprise": frozenset({*_PERSON, "subject", "idp"}),
}
"""Which fields mean something for a strategy."""

WAYS: Final = ("headers", "api_key", "username", "client_id")
"""The kinds of credential of the gateway's own, by the field that begins each."""


def service_mistakes(auth: ServiceAuth) -> Iterator[str]:
    """What is wrong with a credential of the gateway's own."""
    ways = [way for way in WAYS if getattr(auth, way)]
    if len(ways) != 1:
        yield (
            "a credential of the gateway's own is one of 'headers', 'api_key', 'username' with 'password', and "
            f"'client_id' with 'client_secret' or 'private_key': {' and '.join(map(repr, ways)) or 'none'} is stated"
        )
        return
    [way] = ways
    yield from _belonging(auth, "header", "api_key", way)
    yield from _belonging(auth, "password", "username", way)
    for field in sorted(_TOKEN - {"client_id"}):
        yield from _belonging(auth, field, "client_id", way)
    if way == "username" and auth.password is None:
        yield "'username' needs 'password'"
    if way == "client_id":
        yield from _client_mistakes(auth)
        if not auth.client_secret and not auth.private_key:
            yield "'client_id' needs 'client_secret' or 'private_key'"
        if not auth.issuer and not auth.token_url:
            yield "'client_id' needs 'token_url' or 'issuer': where tokens are got"


def urls(auth: OAuthClient) -> Iterator[str]:
    """Every URL that secrets or tokens are sent to."""
    for field in ("issuer", "token_url", "authorization_url", "revocation_url"):
        if given := getattr(auth, field, None):
            yield given
    for nested in (getattr(auth, "idp", None), getattr(auth, "service", None)):
        if nested is not None:
            yield from urls(nested)


def _belonging(auth: BaseModel, field: str, to: str, way: str) -> Iterator[str]:
    if way != to and field in auth.model_fields_set:
        yield f"{field!r} means nothing without {to!r}"


def _client_mistakes(client: OAuthClient) -> Iterator[str]:
    if client.client_secret and client.private_key:
        yield "only one of 'client_secret' and 'private_key' can be given"
    if (client.client_secret or client.private_key) and not client.client_id:
        yield "'client_id' is missing"


def _mistakes(auth: Auth) -> Iterator[str]:
    foreign = sorted(auth.model_fields_set - TAKES[auth.strategy] - {"strategy"})
    if foreign:
        fitting = [each for each in get_args(Strategy) if foreign[0] in TAKES[each]]
        meant = f"; it belongs to {' and '.join(map(repr, fitting))}" if fitting else ""
        yield f"{foreign[0]!r} means nothing for the strategy {auth.strategy!r}{meant}"
        return
    if auth.strategy == "service":
        yield from service_mistakes(auth)
    elif auth.per_person:
        yield from _client_mistakes(auth)
        yield from _person_mistakes(auth)


def _person_mistakes(auth: Auth) -> Iterator[str]:
    if auth.provider and (auth.issuer or auth.authorization_url or auth.token_url):
        yield "only one of 'provider', 'issuer' and the URLs can be given"
    if auth.provider and not auth.client_id:
        yield "'provider' needs the 'client_id' that the gateway was given there"
    if auth.authorization_url and not auth.token_url:
        yield "'authorization_url' needs 'token_url'"
    if auth.strategy == "enterprise" and auth.idp is None:
        yield "the strategy 'enterprise' needs 'idp', the company's identity provider"
    if auth.discovery == "service" and auth.service is None:
        yield "'discovery: service' needs 'service', the credential to ask with"
    if auth.service is not None and auth.discovery not in (None, "service"):
        yield f"'service' means nothing with 'discovery: {auth.discovery}'"
