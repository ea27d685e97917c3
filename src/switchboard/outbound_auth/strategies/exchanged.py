"""`token_exchange` and `enterprise`: a token of the backend's for each person, in exchange for one that they have.

The person does nothing for it. What came of an exchange is kept in the vault until it ends, so that each worker finds
it, also one whose connection has no request of the person's at hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol
from weakref import WeakValueDictionary

from switchboard.errors import CredentialUnavailable
from switchboard.identity import Caller
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.credentials import GATEWAY, OutboundCredentials
from switchboard.outbound_auth.token_set import ID_JAG, TokenSet
from switchboard.vault import RecordKey, Vault

RECORD: Final = "exchanged"
FOR: Final = "for"
"""The member of the record that says for which configuration the token was got: with another it is not sent."""
LONGEST_KEPT_S: Final = 3600.0
"""How long a token is kept of which its issuer did not say when it ends."""


class SubjectTokens(Protocol):
    """Whatever has a token about the person who calls, to be exchanged."""

    async def token(self, caller: Caller, asked: OAuthClient) -> tuple[str, str]:
        """The token, and its type as RFC 8693 names it.

        Args:
            asked: to whom it is going to be shown.

        Raises:
            CredentialUnavailable: there is none that may be shown there.
        """
        ...


Exchange = Callable[[Caller], Awaitable[TokenSet]]
"""Gets a token for a person."""


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """RFC 8693 at the server's authorization server, or at one that it trusts. Satisfies `Exchange`."""

    client: OAuthClient
    subjects: SubjectTokens

    async def __call__(self, caller: Caller) -> TokenSet:
        """Exchange. Raises `CredentialUnavailable`."""
        token, kind = await self.subjects.token(caller, self.client)
        return await self.client.by_exchange(token, kind)


@dataclass(frozen=True, slots=True)
class IdentityAssertion:
    """ID-JAG: RFC 8693 at the company's identity provider, RFC 7523 at the server's. Satisfies `Exchange`.

    https://datatracker.ietf.org/doc/draft-ietf-oauth-identity-assertion-authz-grant/

    Args:
        idp: the gateway as a client of the company's identity provider.
        client: the gateway as a client of the server's authorization server.
        audience: whom the assertion is for, if that is not the issuer of the latter.
    """

    idp: OAuthClient
    client: OAuthClient
    subjects: SubjectTokens
    audience: str = ""

    async def __call__(self, caller: Caller) -> TokenSet:
        """Get an assertion, then a token for it. Raises `CredentialUnavailable`."""
        token, kind = await self.subjects.token(caller, self.idp)
        audience = self.audience or (await self.client.endpoints()).issuer
        resource = self.client.provider.resource
        targets = {"audience": audience, **({"resource": resource} if resource else {})}
        scopes = self.client.provider.scopes
        assertion = await self.idp.by_exchange(token, kind, scopes=scopes, requested=ID_JAG, **targets)
        return await self.client.by_assertion(assertion.access_token)


@dataclass(frozen=True)
class Exchanged:
    """The token that came of an exchange, with every request. Satisfies `OutboundCredentials`.

    Args:
        itself: what the gateway's own requests carry.
        variable: of a child's environment that has the token, for a server that is started here.
    """

    exchange: Exchange = field(repr=False)
    vault: Vault = field(repr=False)
    namespace: str
    itself: OutboundCredentials
    described: str
    """Equal for equal configurations, addresses included; has no secret."""

    variable: str | None = None
    clock: Callable[[], float] = field(default=time.time, repr=False)
    per_person: bool = True
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary, repr=False)

    async def prepare(self, caller: Caller) -> None:
        """Exchange, if there is no token that lasts.

        Raises:
            CredentialUnavailable: it was refused, or cannot be done now.
        """
        person = caller.principal.person
        lock = self._locks.setdefault(person, asyncio.Lock())
        async with lock:
            if await self._kept(person) is None:
                tokens = await self.exchange(caller)
                until = tokens.expires_at or self.clock() + LONGEST_KEPT_S
                purpose = "exchanged for the person"
                record = tokens.as_record() | {FOR: self._whom_for}
                await self.vault.put(self._key(person), record, purpose=purpose, expires_at=until)

    async def headers(self, person: str) -> Mapping[str, str]:
        """The token.

        Raises:
            CredentialUnavailable: there is none yet; `prepare` gets one.
        """
        if person == GATEWAY:
            return await self.itself.headers(person)
        return {"authorization": (await self._token(person)).authorization}

    async def environment(self, person: str) -> Mapping[str, str]:
        """The token, in its variable. Raises as `headers`."""
        if person == GATEWAY:
            return await self.itself.environment(person)
        return {self.variable: (await self._token(person)).access_token} if self.variable else {}

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """Drop the token that was refused: the next `prepare` gets another, with a request of the person's at hand."""
        if person == GATEWAY:
            return await self.itself.rejected(person, sent, status, www_authenticate)
        known = await self._kept(person)
        if known is not None and known.authorization != sent.get("authorization"):
            return True
        if known is not None and status == 401:
            await self.vault.delete(self._key(person), purpose="the server refused it")
        return False

    async def _token(self, person: str) -> TokenSet:
        tokens = await self._kept(person)
        if tokens is None:
            raise CredentialUnavailable("what was exchanged for you has ended: call again", retry=True)
        return tokens

    async def _kept(self, person: str) -> TokenSet | None:
        record = await self.vault.get(self._key(person), purpose="call in the person's name")
        fits = record is not None and record.value.get(FOR) == self._whom_for
        tokens = TokenSet.of_record(record.value) if record is not None and fits else None
        return None if tokens is None or tokens.ends_soon(self.clock()) else tokens

    @cached_property
    def _whom_for(self) -> str:
        """Tells tokens apart that were got for another server of this name, or in another way."""
        return hashlib.sha256(self.described.encode()).hexdigest()[:32]

    def _key(self, person: str) -> RecordKey:
        return RecordKey(self.namespace, RECORD, person)
