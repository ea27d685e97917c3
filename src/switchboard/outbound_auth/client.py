"""This gateway as the client of one OAuth provider: its requests, of which nothing is kept here.

Made with Authlib's asynchronous client over the guarded transport: authorization codes with PKCE (RFC 7636), refresh
tokens, client credentials, token exchange (RFC 8693), JWT bearer grants (RFC 7523), revocation (RFC 7009). Whatever
goes wrong is a `CredentialUnavailable` that says what to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hmac import compare_digest
from typing import Any, Final

import httpx2
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import AsyncOAuth2Client

from switchboard.common.breaker import Breaker
from switchboard.common.visible_text import excerpt
from switchboard.errors import CredentialUnavailable
from switchboard.outbound_auth.client_auth import ClientIdentity, configured_identity
from switchboard.outbound_auth.endpoints import EndpointFinder, Endpoints
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.outbound_auth.provider_errors import (
    ANSWER_S,
    ProviderAway,
    ProviderRefused,
    explained,
    read_answer,
    refused,
)
from switchboard.outbound_auth.registration import Registrations
from switchboard.outbound_auth.token_set import ACCESS_TOKEN, TokenSet, read_tokens
from switchboard.telemetry.metrics import ISSUER_REQUESTS

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

AGENT: Final = "mcp-switchboard"
VERIFIER_CHARACTERS: Final = 64
STATE_CHARACTERS: Final = 43
SIGN_IN_S: Final = 600.0
"""How long a person may take at the provider's pages."""

RENEW: Final = "renew what you allowed"
REVOKE: Final = "end what you allowed"
WAIT_S: Final = 5.0
"""For a connection, and for each part of an answer."""


class OAuthClient:
    """The client of one provider.

    Args:
        transport: guarded, and lets the provider's own origins be asked; or one that stays in this process.
        registrations: who this gateway is where `client_id` is empty; without it, it has to be given.
        clock: Unix seconds; the fleet's.

    Raises:
        ConfigurationError: its `client_key` is none.
    """

    def __init__(
        self,
        provider: OAuthProvider,
        transport: httpx2.AsyncBaseTransport,
        registrations: Registrations | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        configured_identity(provider, ())  # a key that cannot sign is refused at once
        self.provider = provider
        self._transport = transport
        self._registrations = registrations
        self._clock = clock
        self._http = httpx2.AsyncClient(
            transport=transport, trust_env=False, timeout=WAIT_S, headers={"User-Agent": AGENT}, follow_redirects=False
        )
        self._finder = EndpointFinder(provider, self._http, clock)
        self._breaker = Breaker()
        self._secret_in_form = False

    async def endpoints(self) -> Endpoints:
        """Where the provider is asked. Raises `CredentialUnavailable`."""
        return await self._finder.find()

    async def identity(self, *, redirect_uri: str = "", client_id: str = "") -> ClientIdentity:
        """Which client this gateway is: for people who connect now, or the one that tokens were issued to.

        Args:
            redirect_uri: with one, it registers itself where it has to.
            client_id: to whom the tokens were issued.

        Raises:
            ProviderRefused: as `invalid_client`: tokens were issued to a client that it is not any more.
            CredentialUnavailable: it is none.
        """
        endpoints, configured = await self.endpoints(), self.provider.client_id
        if configured and client_id in ("", configured):
            return configured_identity(self.provider, endpoints.auth_methods)
        if self._registrations is None or not (redirect_uri or client_id):
            raise CredentialUnavailable(f"{self.provider.name} needs a client_id: tell the operator of this gateway")
        if client_id:
            return await self._registrations.known(self.provider, endpoints.issuer, client_id)
        return await self._registrations.find(self.provider, endpoints, self._http, redirect_uri)

    async def forget_registration(self, client_id: str) -> None:
        """The provider said that it does not know this client, which registered itself."""
        if self._registrations is not None and not self.provider.client_id:
            await self._registrations.forget(client_id)

    async def authorization(
        self, redirect_uri: str, *, state: str | None = None, scopes: Sequence[str] = (), **parameters: str
    ) -> tuple[str, dict[str, Any]]:
        """Where to send a browser, and what to keep until it comes back: `state`, `verifier`, `issuer`, …; JSON.

        Args:
            state: 128 random bits or more; made here when not given.
            scopes: beyond those of the provider's description.
            parameters: more of them, such as `nonce` or `login_hint`.
        """
        endpoints, identity = await self.endpoints(), await self.identity(redirect_uri=redirect_uri)
        if not endpoints.authorization:
            raise CredentialUnavailable(f"{self.provider.name} has no page to sign in at: tell the operator")
        verifier, state = generate_token(VERIFIER_CHARACTERS), state or generate_token(STATE_CHARACTERS)
        asked = tuple(dict.fromkeys((*(self.provider.scopes or endpoints.scopes), *scopes)))
        said = self._targets() | dict(self.provider.parameters) | parameters
        url, _ = self._session(identity, "", {}).create_authorization_url(
            endpoints.authorization,
            state=state,
            code_verifier=verifier,
            redirect_uri=redirect_uri,
            scope=" ".join(asked) or None,
            **said,
        )
        kept = {
            "state": state,
            "verifier": verifier,
            "issuer": endpoints.issuer,
            "client_id": identity.client_id,
            "redirect_uri": redirect_uri,
            "scopes": list(asked),
            "until": self._clock() + SIGN_IN_S,
        }
        return url, kept

    async def by_callback(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> tuple[TokenSet, dict[str, Any]]:
        """The tokens, and all that the provider answered, for the parameters with which a browser came back.

        The caller has taken `kept` out of where it was, once, by the `state` of the very same browser.
        """
        self._check(params, kept, await self.endpoints())
        return await self._ask(
            "sign you in",
            "authorization_code",
            kept["scopes"],
            client_id=kept["client_id"],
            code=params["code"],
            redirect_uri=kept["redirect_uri"],
            code_verifier=kept["verifier"],
            **self._targets(),
        )

    async def by_refresh_token(self, before: TokenSet) -> TokenSet:
        """New tokens for old ones, which may be good for nothing afterwards (RFC 6749 §6).

        Raises:
            ProviderRefused: the provider does not renew them.
        """
        if (await self.endpoints()).issuer != before.issuer:
            # A refresh token is shown to nobody but who issued it.
            raise refused(self.provider.name, RENEW, "invalid_grant", "it was issued by another server")
        found, _ = await self._ask(
            RENEW,
            "refresh_token",
            before.scopes,
            client_id=before.client_id,
            refresh_token=before.refresh_token,
            **self._targets(),
        )
        refresh_token = found.refresh_token or before.refresh_token
        return replace(found, refresh_token=refresh_token, renewed=True, server=before.server)

    async def by_client_credentials(self, scopes: Sequence[str] = ()) -> TokenSet:
        """Tokens for this gateway itself (RFC 6749 §4.4)."""
        found, _ = await self._scoped("let this gateway in", "client_credentials", scopes, **self._targets())
        return found

    async def by_exchange(
        self,
        subject_token: str,
        subject_token_type: str,
        *,
        scopes: Sequence[str] = (),
        requested: str = ACCESS_TOKEN,
        **targets: str,
    ) -> TokenSet:
        """A token for a person, in exchange for another of that person's (RFC 8693).

        Args:
            requested: the type that is wanted; with `ID_JAG`, an assertion for another authorization server.
            targets: `audience` and `resource`, where they are not those of the description.
        """
        found, answer = await self._scoped(
            "exchange a token",
            EXCHANGE,
            scopes,
            types=("n_a", "bearer") if requested != ACCESS_TOKEN else ("bearer",),
            subject_token=subject_token,
            subject_token_type=subject_token_type,
            requested_token_type=requested,
            **self._targets() | targets,
        )
        if requested != ACCESS_TOKEN and answer.get("issued_token_type") != requested:
            # What is asked for is shown to another server, and an access token would let that one in here.
            said = excerpt(answer.get("issued_token_type"), 100)
            raise CredentialUnavailable(
                f"{self.provider.name} gave no assertion ({requested}) but {said}: its operator has to enable them"
            )
        return found

    async def by_assertion(self, assertion: str, scopes: Sequence[str] = ()) -> TokenSet:
        """Tokens for whom an assertion is about (RFC 7523 §2.1)."""
        targets = self._targets()
        found, _ = await self._scoped("accept an assertion", JWT_BEARER, scopes, assertion=assertion, **targets)
        return found

    async def revoke(self, tokens: TokenSet) -> bool:
        """Have the provider end these tokens (RFC 7009); whether it can.

        Raises:
            CredentialUnavailable: it could, but did not.
        """
        endpoints = await self.endpoints()
        if not endpoints.revocation or endpoints.issuer != tokens.issuer:
            return False
        hint = "refresh_token" if tokens.refresh_token else "access_token"
        token = tokens.refresh_token or tokens.access_token
        with explained(self.provider.name, REVOKE):
            async with asyncio.timeout(ANSWER_S):
                session = self._session(await self.identity(client_id=tokens.client_id), REVOKE, {})
                response = await session.revoke_token(endpoints.revocation, token=token, token_type_hint=hint)
        if not response.is_success:
            said = read_answer(self.provider.name, REVOKE, response)
            raise refused(self.provider.name, REVOKE, said.get("error"), said.get("error_description"))
        return True

    # -- requests to the token endpoint ------------------------------------------------------------------------------

    async def _scoped(
        self, doing: str, grant_type: str, scopes: Sequence[str], **members: Any
    ) -> tuple[TokenSet, dict[str, Any]]:
        asked = tuple(scopes) or self.provider.scopes
        return await self._ask(doing, grant_type, asked, scope=" ".join(asked), **members)

    async def _ask(
        self,
        doing: str,
        grant_type: str,
        asked: Sequence[str],
        *,
        client_id: str = "",
        types: Sequence[str] = ("bearer",),
        **members: str,
    ) -> tuple[TokenSet, dict[str, Any]]:
        """Send a token request; the other way of sending a secret is tried once, if the provider says nothing of it."""
        endpoints, identity = await self.endpoints(), await self.identity(client_id=client_id)
        may_be_form = identity.method == "client_secret_basic" and not (
            self.provider.client_auth or endpoints.auth_methods
        )
        if may_be_form and self._secret_in_form:
            identity, may_be_form = replace(identity, method="client_secret_post"), False
        now = self._clock()
        try:
            answer = await self._send(doing, identity, endpoints, grant_type, members)
        except ProviderRefused as error:
            if error.code != "invalid_client" or not may_be_form:
                raise
            by_form = replace(identity, method="client_secret_post")
            answer = await self._send(doing, by_form, endpoints, grant_type, members)
            self._secret_in_form = True
        found = read_tokens(
            answer,
            provider=self.provider.name,
            now=now,
            asked=asked,
            separator=self.provider.scope_separator,
            types=types,
        )
        return replace(found, issuer=endpoints.issuer, client_id=identity.client_id), answer

    async def _send(
        self, doing: str, identity: ClientIdentity, endpoints: Endpoints, grant_type: str, members: Mapping[str, str]
    ) -> dict[str, Any]:
        if not self._breaker.allows(self._clock()):
            ISSUER_REQUESTS.add("oauth_provider", "held_back")
            raise ProviderAway(f"{self.provider.name} did not answer lately")
        heard: dict[str, Any] = {}
        try:
            with explained(self.provider.name, doing):
                async with asyncio.timeout(ANSWER_S):
                    session = self._session(identity, doing, heard)
                    if grant_type == "refresh_token":
                        await session.refresh_token(endpoints.token, **members)
                    else:
                        await session.fetch_token(endpoints.token, grant_type=grant_type, **members)
        except ProviderAway:
            self._breaker.failed(self._clock())
            ISSUER_REQUESTS.add("oauth_provider", "failed")
            raise
        self._breaker.succeeded()
        ISSUER_REQUESTS.add("oauth_provider", "answered")
        return heard

    def _session(self, identity: ClientIdentity, doing: str, heard: dict[str, Any]) -> AsyncOAuth2Client:
        """Authlib's client, for one request: it keeps what it was given. What a token endpoint says goes to `heard`."""
        session = AsyncOAuth2Client(
            client_id=identity.client_id,
            client_secret=identity.secret,
            token_endpoint_auth_method=identity.proof(),
            revocation_endpoint_auth_method=identity.proof(),
            code_challenge_method="S256",
            transport=self._transport,
            trust_env=False,
            timeout=WAIT_S,
            follow_redirects=False,
            headers={"User-Agent": AGENT},
        )

        def understood(response: httpx2.Response) -> httpx2.Response:
            # Authlib reads JSON as Python does, and fails on a lifetime that is no number.
            answer = read_answer(self.provider.name, doing, response)
            heard.update(answer)
            fit = {name: value for name, value in answer.items() if name not in ("expires_in", "expires_at")}
            return httpx2.Response(response.status_code, json=fit)

        session.register_compliance_hook("access_token_response", understood)
        session.register_compliance_hook("refresh_token_response", understood)
        return session

    def _targets(self) -> dict[str, str]:
        named = {"resource": self.provider.resource, "audience": self.provider.audience}
        return {name: value for name, value in named.items() if value}

    def _check(self, params: Mapping[str, str], kept: Mapping[str, Any], endpoints: Endpoints) -> None:
        """Whether a browser came back with an answer to this very request, from the issuer that it was sent to."""
        name, again = self.provider.name, "start again from where you connect"
        if not compare_digest(params.get("state", "").encode(), kept["state"].encode()):
            raise CredentialUnavailable(f"this answer of {name} belongs to another sign-in; {again}")
        if self._clock() > kept["until"]:
            raise CredentialUnavailable(f"signing in at {name} took longer than {SIGN_IN_S / 60:.0f} minutes; {again}")
        changed = self.provider.client_id and self.provider.client_id != kept["client_id"]
        if endpoints.issuer != kept["issuer"] or changed:
            raise CredentialUnavailable(f"how this gateway uses {name} was changed meanwhile; {again}")
        issuer = params.get("iss")
        if endpoints.has_issuer and issuer != kept["issuer"] and (issuer is not None or endpoints.iss_required):
            said = excerpt(issuer, 100) if issuer else "nobody"
            raise CredentialUnavailable(
                f"the answer that came names {said} as its issuer, and you were sent to {name}: do not go on, and"
                " tell the operator of this gateway"
            )
        if params.get("error"):
            raise refused(name, "sign you in", params["error"], params.get("error_description"))
        if not params.get("code"):
            raise CredentialUnavailable(f"{name} sent you back without a code; {again}")
