"""What one person has at the backends and plugins that use credentials of people: seen, typed in, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from switchboard.outbound_auth.connectables import Connectable, Connectables, CredentialField
from switchboard.outbound_auth.connected import ConnectionNotices
from switchboard.vault import RecordKey, RecordRefused, Vault

State = Literal["connected", "expired", "reconnect", "not_connected"]

PURPOSE: Final = "the person's own page"
BY_OPERATOR: Final = "ended by an operator"


@dataclass(eq=False)
class FieldErrors(Exception):
    """What a person typed cannot be taken; nothing of it was kept."""

    errors: Mapping[str, str]
    """By field, what is wrong, as the end of a sentence that begins with the field."""


@dataclass(frozen=True, slots=True)
class Account:
    """How one person stands at one backend or plugin; never a secret."""

    connectable: Connectable
    state: State
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    """Unix seconds; of what is connected by OAuth."""
    stored: frozenset[str] = frozenset()
    """The fields that have a value."""
    reason: str = ""
    """Why the person has to connect again."""

    @property
    def anything(self) -> bool:
        """Whether there is something to take back."""
        return self.state != "not_connected" or bool(self.stored)

    def as_json(self) -> dict[str, Any]:
        """As programs are told."""
        it = self.connectable
        told: dict[str, Any] = {"id": it.id, "name": it.name, "description": it.description, "state": self.state}
        if it.accounts is not None:
            told["oauth"] = {"scopes": list(self.scopes or it.scopes), "expires_at": self.expires_at}
        if self.reason:
            told["reason"] = self.reason
        told["fields"] = [self._field(each) for each in it.fields]
        return told

    def _field(self, each: CredentialField) -> dict[str, Any]:
        return {
            "name": each.name,
            "label": each.label or each.name,
            "type": each.type,
            "required": each.required,
            "description": each.description,
            "pattern": each.pattern,
            "stored": each.name in self.stored,
        }


class PersonalAccounts:
    """Looks after the accounts of people.

    Its methods raise `StateUnavailable` while the vault cannot be asked.
    """

    def __init__(self, connectables: Connectables, vault: Vault, notices: ConnectionNotices) -> None:
        self.connectables = connectables
        self._vault = vault
        self._notices = notices

    async def all(self, person: str) -> list[Account]:
        """How the person stands everywhere."""
        return list(await asyncio.gather(*(self.of(person, each) for each in self.connectables)))

    async def of(self, person: str, connectable: Connectable) -> Account:
        """How the person stands at one."""
        names = await self._vault.names(connectable.namespace, person) if connectable.fields else ()
        stored = frozenset(each.name for each in connectable.fields if each.name in names)
        if connectable.accounts is None:
            return Account(connectable, _by_fields(connectable.fields, stored), stored=stored)
        status = await connectable.accounts.status(person)
        reason = "" if status.state == "not_connected" else status.reason
        return Account(connectable, _STATES[status.state], status.scopes, status.expires_at, stored, reason)

    async def store(self, person: str, connectable: Connectable, typed: Mapping[str, str]) -> None:
        """Keep what was typed; a field that is left empty keeps what it had.

        Raises:
            FieldErrors: a field is wrong, unknown, or missing; nothing was kept.
        """
        before = await self.of(person, connectable)
        given = {name: text for name, text in typed.items() if text}
        errors = dict(_problems(connectable.fields, given, before.stored))
        if errors:
            raise FieldErrors(errors)
        for name, text in given.items():
            key = RecordKey(connectable.namespace, name, person)
            try:
                await self._vault.put(key, {"value": text}, purpose=PURPOSE)
            except RecordRefused as error:
                raise FieldErrors({name: f"cannot be kept: {error}"}) from error
        await self._notices.tell(person, connectable.id)

    async def take_back(self, person: str, connectable: Connectable, *, who: str | None = None) -> str:
        """Forget all that the person has there, and end it at the OAuth provider.

        Args:
            who: does so, where it is not the person.

        Returns:
            What the person should know: that the provider could not be told, for example. Or nothing.
        """
        left = await connectable.accounts.revoke(person, who=who) if connectable.accounts is not None else ""
        for each in connectable.fields:
            key = RecordKey(connectable.namespace, each.name, person)
            await self._vault.delete(key, purpose=PURPOSE if who is None else BY_OPERATOR, who=who)
        await self._notices.tell(person, connectable.id)
        return left

    async def connected(self, person: str, connectable: Connectable) -> None:
        """Tell every worker that the person has connected by OAuth."""
        await self._notices.tell(person, connectable.id)


_STATES: Final[Mapping[str, State]] = {
    "connected": "connected",
    "expired": "expired",
    "reauthorization_needed": "reconnect",
    "not_connected": "not_connected",
}


def _by_fields(fields: Collection[CredentialField], stored: frozenset[str]) -> State:
    missing = [each for each in fields if each.required and each.name not in stored]
    return "not_connected" if missing or not stored else "connected"


def _problems(
    fields: Collection[CredentialField], given: Mapping[str, str], stored: frozenset[str]
) -> Iterator[tuple[str, str]]:
    known = {each.name: each for each in fields}
    for name in given.keys() - known.keys():
        yield name[:80], "is none of the fields"
    for name, each in known.items():
        if name in given and (what := each.problem(given[name])):
            yield name, what
        if name not in given and each.required and name not in stored:
            yield name, "is needed"
