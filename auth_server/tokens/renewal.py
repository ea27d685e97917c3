"""Grants renewed at refresh: the identity provider is asked again, so people who left it lose their grants.

One request at a time asks for a family, since the provider's refresh tokens may be good for one use only. Others wait
for its result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from auth_server.audit import Audit
from auth_server.authorization import scope_policy
from auth_server.connectors import Connector
from auth_server.errors import Refusal, SignInRefused
from auth_server.models import Grant, KeepIdToken
from auth_server.store import Families
from auth_server.store.connection import Connection, ms
from auth_server.store.families import PresentedToken
from switchboard.errors import AuthorizationUnavailable

HELD = 15.0
"""Seconds: the longest that asking may take."""

_LOOKS = 100
_PAUSE = 0.1


class Renewal:
    """Renews grants by what the identity provider says of the person."""

    def __init__(
        self,
        connection: Connection,
        upstream: Connector,
        families: Families,
        audit: Audit,
        keep_id_token: KeepIdToken,
        admins: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._upstream = upstream
        self._families = families
        self._audit = audit
        self._keep_id_token = keep_id_token
        self._admins = admins
        self._clock = clock

    async def renewed(self, found: PresentedToken, token: str) -> PresentedToken:
        """The token with its grant renewed, or with the successor that another request got.

        Raises:
            Refusal: the person may not sign in any more, or the token is spent.
            AuthorizationUnavailable: the identity provider cannot be asked; the token stays good.
        """
        grant = found.live_grant
        if not grant.upstream:
            return found
        name = self._connection.keys.name("renewing", family=found.family)
        async with self._connection.commands() as redis:
            mine = await redis.set(name, "1", nx=True, px=ms(HELD))
        if not mine:
            return await self._others(token)
        # Another request may have finished in between.
        again = await self._families.find_refresh(token)
        if again is None or again.status != "live":
            await self._let_go(name)
            return _usable(again)
        try:
            return replace(again, grant=await self._ask(again, grant))
        except AuthorizationUnavailable:
            await self._let_go(name)
            raise

    async def finished(self, found: PresentedToken) -> None:
        """The rotation that followed is stored: the next one may ask."""
        if found.live_grant.upstream:
            await self._let_go(self._connection.keys.name("renewing", family=found.family))

    async def _ask(self, found: PresentedToken, grant: Grant) -> Grant:
        try:
            identity = await self._upstream.renew(grant.upstream)
        except SignInRefused as refusal:
            await self._end(found, grant, str(refusal))
            raise Refusal("invalid_grant", "the person is not signed in any more") from refusal
        scope = scope_policy.allowed(grant.scope, identity, self._admins)
        if identity.subject != grant.subject or not scope:
            await self._end(found, grant, "another person, or none of the scopes is left")
            raise Refusal("invalid_grant", "the person may not do this any more")
        if identity.id_token:
            await self._keep_id_token(identity.subject, identity.id_token)
        return replace(grant, upstream=identity.kept or grant.upstream, scope=scope)

    async def _end(self, found: PresentedToken, grant: Grant, reason: str) -> None:
        await self._families.revoke(found.family)
        await self._audit.record("renewal.refused", subject=grant.subject, client=grant.client_id, reason=reason)

    async def _others(self, token: str) -> PresentedToken:
        for _ in range(_LOOKS):
            found = await self._families.find_refresh(token)
            if found is None or found.status != "live":
                return _usable(found)
            await asyncio.sleep(_PAUSE)
        raise AuthorizationUnavailable("the identity provider takes too long to answer about this login")

    async def _let_go(self, name: str) -> None:
        async with self._connection.commands() as redis:
            await redis.delete(name)


def _usable(found: PresentedToken | None) -> PresentedToken:
    if found is None or found.successor is None:
        raise Refusal("invalid_grant", "the refresh token is not valid")
    return found
