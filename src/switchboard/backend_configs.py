"""Sections of the configuration as what makes providers of them: the description of a backend, and its credentials.

Part of the composition root: `config` does not know `backends` and `outbound_auth`, nor they it, nor each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from switchboard.backends import Backend, BackendProvider, Bounds, Http, Patience, Sse, Stdio
from switchboard.common.fetch.guarded_transport import origin_of
from switchboard.config import Auth, OAuthClient, PluginSection, ServerSection, ServiceAuth
from switchboard.config.model import digest
from switchboard.errors import ConfigurationError, CredentialUnavailable
from switchboard.gateway import Provider
from switchboard.identity import Caller
from switchboard.outbound_auth.client import OAuthClient as Client
from switchboard.outbound_auth.connectables import Connectable, Connectables
from switchboard.outbound_auth.credentials import NO_CREDENTIALS, OutboundCredentials
from switchboard.outbound_auth.kept_id_tokens import KeptIdTokens
from switchboard.outbound_auth.oauth_providers import OAuthProvider, preset
from switchboard.outbound_auth.outbound import Outbound
from switchboard.outbound_auth.strategies.client_credentials import ClientCredentials
from switchboard.outbound_auth.strategies.exchanged import Exchanged, IdentityAssertion, SubjectTokens, TokenExchange
from switchboard.outbound_auth.strategies.fixed import fixed
from switchboard.outbound_auth.strategies.user_oauth import SteppingUp, UserAccounts, WantedScopes
from switchboard.outbound_auth.token_set import ACCESS_TOKEN, ID_TOKEN
from switchboard.own_issuer import OwnIssuer
from switchboard.sources import Launch
from switchboard.vault import Vault

UNSHOWN: Final[Mapping[str, Any]] = {
    "enabled": True, "tags": (), "allow": (), "deny": (), "rename": {}, "tools": {}, "description": "", "audit": None,
}  # fmt: skip
"""What changes how a server is shown, and not the server: left out of what tells whether it changed."""


def plugin_key(section: PluginSection) -> str:
    """Equal for sections that make the same plugin, however it is shown."""
    return digest(section.model_copy(update={key: value for key, value in UNSHOWN.items() if key != "description"}))


def server_key(section: ServerSection) -> str:
    """Equal for sections that make the same server, however it is shown."""
    return digest(section.model_copy(update=UNSHOWN))


def connected(provider: Callable[..., BackendProvider], backend: Backend, before: Provider | None) -> Provider:
    """A provider that offers what its predecessor did until it was asked itself: nothing is missing in between."""
    return provider(backend, last=before.last_offer() if isinstance(before, BackendProvider) else None)


def backend(
    name: str, section: ServerSection, launch: Launch | None, credentials: OutboundCredentials = NO_CREDENTIALS
) -> Backend:
    """What `backends` is told about a server.

    Raises:
        ConfigurationError: it asks for what cannot be done.
    """
    return Backend(
        name,
        _transport(section, launch),
        section.scope,
        section.prefix,
        Patience(start=section.start_timeout, call=section.timeout, idle=section.idle_timeout),
        Bounds(
            message_bytes=section.message_bytes,
            items=section.definitions,
            pages=max(Bounds().pages, section.definitions // 10),
            definition_bytes=section.definition_bytes,
            offer_bytes=section.definitions_bytes,
            connections=section.connections,
            connections_per_user=section.connections_per_user,
            connections_of_fleet=section.connections_of_fleet,
        ),
        credentials=credentials,
        personal_offer=section.auth.discovers == "person",
    )


def _transport(section: ServerSection, launch: Launch | None) -> Stdio | Http | Sse:
    if launch is not None:
        cwd = str(launch.cwd) if launch.cwd is not None else None
        return Stdio(launch.command, launch.args, dict(launch.env), cwd, era=section.era)
    if section.transport == "sse" or (section.transport is None and _ends_in_sse(section.addresses)):
        return Sse(section.addresses[0], dict(section.headers), section.insecure)
    return Http(section.addresses, dict(section.headers), section.era, section.insecure)


def _ends_in_sse(addresses: tuple[str, ...]) -> bool:
    """Whether it is the one address at which servers of the older transport are found."""
    return len(addresses) == 1 and urlsplit(addresses[0]).path.rstrip("/").endswith("/sse")


@dataclass(frozen=True, slots=True)
class BearerSubjects:
    """The token that the caller's request came with, shown to nobody but the issuer that made it."""

    kind: str

    async def token(self, caller: Caller, asked: Client) -> tuple[str, str]:
        """See `SubjectTokens`."""
        if not caller.bearer:
            raise CredentialUnavailable("this call has no token of its person that could be exchanged: call it anew")
        issuer, endpoints = caller.principal.issuer, await asked.endpoints()
        if endpoints.issuer != issuer and _origin(endpoints.token) != _origin(issuer):
            raise CredentialUnavailable(
                f"your token is {issuer}'s, and is exchanged nowhere else: the operator of this gateway has to name"
                f" that authorization server, and not {asked.provider.name}"
            )
        return caller.bearer, self.kind


@dataclass(frozen=True, slots=True)
class CredentialsOfServers:
    """Makes the credentials of each configured server.

    Args:
        issuer: who makes the tokens that people call this gateway with; empty if nobody signs in (`AUTH_MODE=none`).
        own: our authorization server, if it is that: it keeps what the company's says of people, and exchanges tokens.
        clock: the fleet's.
    """

    outbound: Outbound
    vault: Vault
    connectables: Connectables
    issuer: str
    own: OwnIssuer | None
    clock: Callable[[], float]

    def of(self, name: str, section: ServerSection) -> OutboundCredentials:
        """Those of one row.

        Raises:
            ConfigurationError: it asks for what cannot be done.
        """
        self.forget(name)
        auth = section.auth
        try:
            if auth.strategy == "none":
                return NO_CREDENTIALS
            if auth.strategy == "service":
                return self._service(name, auth, section, auth.env)
            if not self.issuer:
                raise ConfigurationError(
                    f"the strategy {auth.strategy!r} is for people who sign in at this gateway, and AUTH_MODE is none"
                )
            return self._user_oauth(name, section) if auth.strategy == "user_oauth" else self._exchanged(name, section)
        except ConfigurationError as error:
            raise ConfigurationError(f"mcpServers.{name}.auth: {error}") from error

    def forget(self, name: str) -> None:
        """Nobody can connect an account or have a token there any more; what people connected stays in the vault."""
        self.connectables.remove(_namespace(name))
        if self.own:
            self.own.forget(name)

    # -- the gateway's own ----------------------------------------------------------------------------------------

    def _service(
        self, name: str, auth: ServiceAuth, section: ServerSection, variable: str | None
    ) -> OutboundCredentials:
        if auth.client_id is None:
            return fixed(auth, variable)
        provider = self._provider(f"{name}'s authorization server", auth, section, **_targets(auth, section))
        return ClientCredentials(self.outbound.client(provider), repr(auth), variable, self.clock)

    def _itself(self, name: str, section: ServerSection) -> OutboundCredentials:
        auth = section.auth
        if auth.service is None or auth.discovers != "service":
            return NO_CREDENTIALS
        return self._service(name, auth.service, section, auth.env)

    # -- each person's --------------------------------------------------------------------------------------------

    def _user_oauth(self, name: str, section: ServerSection) -> OutboundCredentials:
        auth, namespace = section.auth, _namespace(name)
        server = origin_of(section.addresses[0]) if section.addresses else ""
        accounts = self.outbound.accounts(namespace, name, self._account_provider(name, section), server)
        wanted = WantedScopes(self.vault, namespace)
        self.connectables.put(
            Connectable(
                name,
                namespace,
                description=section.description,
                scopes=accounts.client.provider.scopes,
                accounts=SteppingUp(accounts, wanted),
            )
        )
        return UserAccounts(accounts, wanted, self._itself(name, section), repr(auth), auth.env)

    def _account_provider(self, name: str, section: ServerSection) -> OAuthProvider:
        auth = section.auth
        if auth.provider:
            said = {"audience": auth.audience or "", "resource": auth.resource or ""}
            return preset(auth.provider, **_client(auth), scopes=auth.scopes, **said)
        urls = {"authorization_url": auth.authorization_url or "", "revocation_url": auth.revocation_url or ""}
        found = {} if auth.issuer or auth.token_url or not section.addresses else {"resource_url": section.addresses[0]}
        return self._provider(name, auth, section, **urls, **found, **_targets(auth, section))

    def _exchanged(self, name: str, section: ServerSection) -> OutboundCredentials:
        auth, namespace = section.auth, _namespace(name)
        targets = _targets(auth, section)
        exchange: TokenExchange | IdentityAssertion
        if auth.strategy == "token_exchange":
            exchange = TokenExchange(self._exchanging(name, section, targets), self._subjects(auth))
        else:
            exchange = self._assertion(name, section, targets)
        itself = self._itself(name, section)
        described = repr((auth, section.addresses, self.issuer))
        return Exchanged(exchange, self.vault, namespace, itself, described, auth.env, self.clock)

    def _exchanging(self, name: str, section: ServerSection, targets: dict[str, str]) -> Client:
        auth = section.auth
        stated = auth if auth.issuer or auth.token_url else auth.model_copy(update={"issuer": self.issuer})
        if auth.client_id:
            return self.outbound.client(self._provider(f"{name}'s authorization server", stated, section, **targets))
        if self.own is None or stated.issuer != self.issuer or auth.token_url:
            raise ConfigurationError(
                f"needs the 'client_id' that the gateway has at {stated.token_url or stated.issuer}, and its"
                " 'client_secret' or 'private_key'"
            )
        if auth.subject == "id_token":
            raise ConfigurationError("'subject: id_token' is exchanged elsewhere alone: name 'issuer' and 'client_id'")
        if targets["audience"] and targets["resource"]:
            raise ConfigurationError("only one of 'audience' and 'resource' can be given for this gateway's own issuer")
        return self.own.exchanging(name, targets["audience"] or targets["resource"], auth.scopes)

    def _assertion(self, name: str, section: ServerSection, targets: dict[str, str]) -> IdentityAssertion:
        auth = section.auth
        if auth.idp is None:
            raise ConfigurationError("needs 'idp'")
        at_idp = auth.idp if auth.idp.client_id else auth.idp.model_copy(update=_stated(auth))
        idp = self._provider("the company's identity provider", at_idp, section)
        found = {} if auth.issuer or auth.token_url or not section.addresses else {"resource_url": section.addresses[0]}
        there = self._provider(f"{name}'s authorization server", auth, section, **found, **targets)
        clients = self.outbound.client(idp), self.outbound.client(there)
        return IdentityAssertion(*clients, self._subjects(auth), auth.idp.audience or "")

    def _subjects(self, auth: Auth) -> SubjectTokens:
        default = "id_token" if auth.strategy == "enterprise" else "access_token"
        if (auth.subject or default) == "access_token":
            return BearerSubjects(ACCESS_TOKEN)
        return KeptIdTokens(self.vault, self.issuer) if self.own else BearerSubjects(ID_TOKEN)

    @staticmethod
    def _provider(name: str, auth: OAuthClient, section: ServerSection, **more: Any) -> OAuthProvider:
        scopes = getattr(auth, "scopes", ()) or section.auth.scopes
        said: dict[str, Any] = {**_client(auth), **more}
        return OAuthProvider(name, auth.issuer or "", token_url=auth.token_url or "", scopes=scopes, **said)


def _namespace(name: str) -> str:
    return f"server:{name}"


def _client(auth: OAuthClient) -> dict[str, str]:
    return {
        "client_id": auth.client_id or "",
        "client_secret": auth.client_secret or "",
        "client_key": auth.private_key or "",
    }


def _stated(auth: OAuthClient) -> dict[str, str | None]:
    """The client that is one at both authorization servers."""
    return {name: getattr(auth, name) for name in ("client_id", "client_secret", "private_key")}


def _targets(auth: ServiceAuth, section: ServerSection) -> dict[str, str]:
    """For whom tokens are to be: for this server alone."""
    address = section.addresses[0] if section.addresses else ""
    resource = address if auth.resource is None and auth.audience is None else auth.resource or ""
    return {"audience": auth.audience or "", "resource": resource}


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
