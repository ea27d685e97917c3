"""A person signed in with a browser: a signed cookie, and a record in Redis that revoking their authorization ends.

The record has the tokens that this server was given when they signed in, like any other client. Every request has the
access token verified by what verifies the tokens of MCP clients: so it is the same person, with what they may do now,
and who was revoked is signed out.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from starlette.requests import Request
from starlette.responses import Response

from switchboard.account.records import Records
from switchboard.account.signing import Cookie
from switchboard.common.sealing import b64, random_token
from switchboard.errors import AuthorizationUnavailable, CredentialUnavailable
from switchboard.fleet import FleetLocks
from switchboard.identity import ANONYMOUS, KeyBoundToken, Principal, TokenVerifier
from switchboard.outbound_auth.token_set import TokenSet

LIVES_S: Final = 12 * 3600
"""The longest that somebody stays signed in."""

log = structlog.get_logger("switchboard.account")


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, in which browser."""

    principal: Principal
    secret: str = field(repr=False)
    """What only this browser has; it proves nothing that the signed cookie did not."""

    @property
    def person(self) -> str:
        """The JSON array `[issuer, subject]`."""
        return self.principal.person

    @property
    def mark(self) -> str:
        """What is stored to know this browser's session again by."""
        return self._derived("mark")

    @property
    def csrf(self) -> str:
        """What a form of this session has to carry."""
        return self._derived("csrf")

    def _derived(self, purpose: str) -> str:
        return b64(hmac.digest(self.secret.encode(), f"switchboard {purpose}".encode(), "sha256"))

    def sent_by(self, token: str) -> bool:
        """Whether a form with this token was made for this session."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())


class Renewing(Protocol):
    """Gets new tokens for old ones."""

    async def renew(self, before: TokenSet) -> TokenSet:
        """New tokens; the old ones may be good for nothing afterwards.

        Raises:
            CredentialUnavailable: there are none, with `retry` when there may be later.
        """
        ...


class Sessions(Protocol):
    """Who is signed in. Two kinds: `IssuedSessions`, and `AnonymousSessions` where nobody has a name."""

    async def find(self, request: Request) -> Session | None:
        """Whose request it is; `None` for nobody's.

        Raises:
            StateUnavailable, AuthorizationUnavailable: it cannot be told now.
        """
        ...

    async def end(self, session: Session, response: Response) -> None:
        """Sign the person out, in this browser."""
        ...


class IssuedSessions:
    """Sessions of people who signed in at the issuer. Satisfies `Sessions`.

    Args:
        cookie: for the key of a record.
        verifier: of the tokens of MCP clients.
        issuer: gets new tokens.
        locks: so that one worker does, for all.
    """

    def __init__(
        self, cookie: Cookie, records: Records, verifier: TokenVerifier, issuer: Renewing, locks: FleetLocks
    ) -> None:
        self._cookie = cookie
        self._records = records
        self._verifier = verifier
        self._issuer = issuer
        self._locks = locks

    async def begin(self, tokens: TokenSet, response: Response) -> Session | None:
        """Sign in whom the tokens stand for, under a key that no browser had before; `None` when they are not good.

        Raises:
            StateUnavailable, AuthorizationUnavailable: they cannot be verified now.
        """
        principal = await self._verified(tokens)
        if principal is None:
            return None
        secret = random_token()
        await self._records.put("session", secret, tokens.as_record(), LIVES_S)
        self._cookie.write(response, {"session": secret})
        return Session(principal, secret)

    async def find(self, request: Request) -> Session | None:
        """See `Sessions`."""
        said = self._cookie.read(request)
        secret = str(said["session"]) if said else ""
        tokens = await self.tokens(secret) if secret else None
        if tokens is None:
            return None
        principal = await self._verified(tokens) or await self._renewed(secret, tokens)
        return Session(principal, secret) if principal else None

    async def end(self, session: Session, response: Response) -> None:
        """See `Sessions`."""
        await self._records.take("session", session.secret)
        self._cookie.delete(response)

    async def tokens(self, secret: str) -> TokenSet | None:
        """The tokens that a session stands on; `None` when it is over."""
        kept = await self._records.read("session", secret)
        return TokenSet.of_record(kept) if kept else None

    async def _verified(self, tokens: TokenSet) -> Principal | None:
        try:
            return await self._verifier.verify(tokens.access_token)
        except KeyBoundToken as error:
            log.warning("sign_in.token_refused", reason=str(error))
            return None

    async def _renewed(self, secret: str, before: TokenSet) -> Principal | None:
        """The principal of a session whose access token is over: one worker gets another, for all."""
        async with self._locks.hold("account session", secret):
            tokens = await self.tokens(secret)
            if tokens is None or tokens.access_token != before.access_token:
                return await self._verified(tokens) if tokens else None
            try:
                tokens = await self._issuer.renew(before)
            except CredentialUnavailable as error:
                if error.retry:
                    raise AuthorizationUnavailable(error.reason) from error
                log.info("session.ended", reason=error.reason)
                await self._records.take("session", secret)
                return None
            await self._records.replace("session", secret, tokens.as_record())
        return await self._verified(tokens)


class AnonymousSessions:
    """Where `AUTH_MODE=none`: everybody is the one anonymous person, and a browser is known by its cookie alone.

    Satisfies `Sessions`.
    """

    def __init__(self, cookie: Cookie) -> None:
        self._cookie = cookie

    async def find(self, request: Request) -> Session | None:
        """See `Sessions`; nobody until `begin` was called for this browser."""
        said = self._cookie.read(request)
        return Session(ANONYMOUS, str(said["session"])) if said else None

    def begin(self, response: Response) -> None:
        """Give a browser its cookie."""
        self._cookie.write(response, {"session": random_token()})

    async def end(self, session: Session, response: Response) -> None:
        """See `Sessions`."""
        self._cookie.delete(response)


def shown_name(principal: Principal) -> str:
    """What a page calls a person."""
    return principal.subject if principal.issuer else "everybody who reaches this server"
