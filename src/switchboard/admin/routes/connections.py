"""`/api/connections`: who is connected to what with an account or values of their own, and an end to a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration, PersonsAccount
from switchboard.admin.paging import Cursor, Limit, Page, cut, decoded, encoded
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.outbound_auth.connectables import Connectable


class Connection(BaseModel):
    """How one person stands at one server or plugin."""

    id: str
    to: str
    """The name of the server or plugin."""
    title: str = ""
    kind: Literal["account", "values"]
    """An account at an OAuth provider, or values that the person typed."""
    issuer: str
    subject: str
    """The person."""
    state: Literal["connected", "expired", "reconnect", "not_connected"]
    reason: str = ""
    """Why the person has to connect again."""
    scopes: list[str] = []
    expires_at: float | None = None
    """Unix seconds: the access token, which is renewed before if the provider lets it."""
    values: list[str] = []
    """The names of what the person typed."""


class Ended(BaseModel):
    """What the person should know of an end."""

    note: str = ""
    """That the provider could not be told, for example."""


@dataclass(frozen=True)
class ConnectionRoutes:
    """The routes' handlers."""

    administration: Administration

    async def list_connections(
        self,
        limit: Limit = 100,
        cursor: Cursor = "",
        to: Annotated[str, Query(max_length=64, description="Only those to this server or plugin.")] = "",
        subject: Annotated[str, Query(max_length=255, description="Only those of the person of this subject.")] = "",
    ) -> Page[Connection]:
        """Everybody's connections to what is configured now."""
        wanted = [each for each in self.administration.connectables if to in ("", each.id)]
        owners = await asyncio.gather(*(self.administration.vault.owners(each.namespace) for each in wanted))
        found = {
            _id(each.id, owner): (each, owner)
            for each, those in zip(wanted, owners, strict=True)
            for owner in those
            if owner and subject in ("", json.loads(owner)[1])
        }
        shown, following = cut(sorted(found), cursor, limit)
        items = await self._shown([found[each] for each in shown])
        return Page(items=items, next_cursor=following, total=len(found)).held(lambda each: each.id)

    async def end_connection(self, connection: str) -> Ended:
        """Forget all that a person has there, and end it at the OAuth provider; the next call has to connect again."""
        connectable, person = await self._found(connection)
        outcome = "ok"
        try:
            note = await self.administration.accounts.take_back(person, connectable, who=who())
        except Exception as error:
            outcome = str(error)
            raise
        finally:
            self.administration.audit.record(
                "connection.ended", who=who(), what=connectable.namespace, outcome=outcome, owner=person
            )
        return Ended(note=note)

    async def check_connection(self, connection: str) -> Connection:
        """How the person stands there now, read from what the vault holds; the provider is not asked."""
        return (await self._shown([await self._found(connection)]))[0]

    async def _found(self, connection: str) -> tuple[Connectable, str]:
        try:
            parts: Any = json.loads(decoded(connection))
            name, person = (str(each) for each in parts)
        except (Problem, ValueError, TypeError):
            raise not_found("connection", connection[:80]) from None
        connectable = self.administration.connectables.find(name)
        if connectable is None or not await self.administration.vault.store.keys(connectable.namespace, person):
            raise not_found("connection", connection[:80])
        return connectable, person

    async def _shown(self, those: Sequence[tuple[Connectable, str]]) -> list[Connection]:
        accounts = await asyncio.gather(*(self.administration.accounts.of(person, each) for each, person in those))
        return [_connection(account, person) for account, (_, person) in zip(accounts, those, strict=True)]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/connections", tags=["credentials"])
    served = ConnectionRoutes(administration)
    router.get("")(served.list_connections)
    router.delete("/{connection}")(served.end_connection)
    router.post("/{connection}/check")(served.check_connection)
    return router


def _id(name: str, person: str) -> str:
    return encoded(json.dumps([name, person], separators=(",", ":")))


def _connection(account: PersonsAccount, person: str) -> Connection:
    issuer, subject = json.loads(person)
    it = account.connectable
    return Connection(
        id=_id(it.id, person),
        to=it.id,
        title=it.title,
        kind="values" if it.accounts is None else "account",
        issuer=issuer,
        subject=subject,
        state=account.state,
        reason=account.reason,
        scopes=list(account.scopes),
        expires_at=account.expires_at,
        values=sorted(account.stored),
    )
