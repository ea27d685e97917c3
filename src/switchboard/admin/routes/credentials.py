"""`/api/credentials`: what the vault holds, of whom and for what, never a value; values of plugins, put and deleted."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from switchboard.admin.access import who
from switchboard.admin.administration import Administration
from switchboard.admin.bodies import StrictRoute
from switchboard.admin.changes import ABSENT, IfMatch
from switchboard.admin.paging import Cursor, Limit, Page, cut, decoded, encoded
from switchboard.admin.problems import Mistake, not_found
from switchboard.audit.reading import last_uses
from switchboard.common.problem_details import Problem
from switchboard.plugins.credentials import VALUE, namespace
from switchboard.vault import Conflict, RecordKey, RecordRefused, Undecryptable, Vault
from switchboard.vault.vault import KEY_CHECK

Kind = Literal["value", "account", "exchanged", "scopes", "sign_in", "registration"]

LONGEST: Final = 8_192
"""Characters of a value."""

PURPOSE: Final = "administration"

KINDS: Final[dict[str, Kind]] = {
    "oauth": "account",
    "exchanged": "exchanged",
    "scopes": "scopes",
    "id_token": "sign_in",
    "client": "registration",
}
"""Of the records that the gateway itself writes, by the beginning of their names; every other is a `value`."""


class Credential(BaseModel):
    """One record of the vault."""

    id: str
    """Of this record, for its own routes."""
    server: str = ""
    plugin: str = ""
    """What it is for: a server, a plugin, or with neither the gateway."""
    name: str
    kind: Kind
    """`value`: typed in; `account`: tokens of a person's account; `exchanged`: a token that was exchanged for a
    person's own; `scopes`: what a server asked a person to allow; `sign_in`: who somebody was when signing in;
    `registration`: this gateway at an OAuth provider."""
    shared: bool
    """Nobody's own: of the plugin, the server or the gateway."""
    issuer: str = ""
    subject: str = ""
    """Whose it is, if it is a person's."""
    state: Literal["ok", "undecryptable"]
    """`undecryptable`: no key of VAULT_KEYS is the one it was encrypted with."""
    expires_at: float | None = None
    """Unix seconds, when the record ends; until when an account's tokens are good is told by its connection."""
    last_used: float | None = None
    """Unix seconds of the last time that it was read, if that is among the newest entries of the audit log."""


class SharedValue(BaseModel):
    """A value of a plugin."""

    model_config = ConfigDict(extra="forbid")

    value: str = Field(min_length=1, max_length=LONGEST)
    expires_at: float | None = Field(None, gt=0, lt=1e11, description="Unix seconds; kept for ever without it.")


class Checked(BaseModel):
    """Whether something can be used."""

    ok: bool
    reason: str = ""
    """Why not, or what to do."""


Value = Annotated[SharedValue, Body()]


@dataclass(frozen=True)
class CredentialRoutes:
    """The routes' handlers."""

    administration: Administration

    @property
    def _vault(self) -> Vault:
        return self.administration.vault

    async def list_credentials(
        self,
        limit: Limit = 100,
        cursor: Cursor = "",
        server: Annotated[str, Query(max_length=64, description="Only those for this server.")] = "",
        plugin: Annotated[str, Query(max_length=64, description="Only those for this plugin.")] = "",
        subject: Annotated[str, Query(max_length=255, description="Only those of the person of this subject.")] = "",
    ) -> Page[Credential]:
        """What the vault holds: whose, for what, until when, and when it was used last; never a value."""
        wanted = f"server:{server}" if server else namespace(plugin) if plugin else None
        keys = {_id(key): key for key in await self._keys(wanted) if subject in ("", _person(key)[1])}
        shown, following = cut(sorted(keys), cursor, limit)
        items = await self._shown([keys[each] for each in shown])
        return Page(items=items, next_cursor=following, total=len(keys)).held(lambda each: each.id)

    async def get_credential(self, credential: str, response: Response) -> Credential:
        """One record; its ETag is needed to replace it."""
        key = _key(credential)
        found = await self._vault.store.read(key)
        if found is None or found.expired(self._vault.now()):
            raise not_found("credential", credential)
        response.headers["ETag"] = f'"{found.version}"'
        return (await self._shown([key]))[0]

    async def put_value(
        self, plugin: str, name: str, body: Value, response: Response, if_match: IfMatch = None
    ) -> Credential:
        """Keep a value that the plugin has for everybody. What is there is replaced by whoever saw it (`If-Match`)."""
        key = self._shared(plugin, name)
        if body.expires_at is not None and body.expires_at <= self._vault.now():
            raise Problem(422, "expires_at is over", mistakes=[Mistake(where="body.expires_at", reason="is over")])
        seen = None if if_match in (None, ABSENT) else str(if_match).strip('"')
        try:
            version = await self._vault.put(
                key,
                {VALUE: body.value},
                purpose=PURPOSE,
                expires_at=body.expires_at,
                replacing=seen or "",
                who=who(),
            )
        except Conflict:
            tag = await self._tag(key)
            if if_match is None:
                message = f"{key.label} is there: say in If-Match which state of it you saw"
                raise Problem(428, message, headers={"ETag": tag}) from None
            raise Problem(412, f"{key.label} was changed meanwhile", headers={"ETag": tag}) from None
        except RecordRefused as error:
            raise Problem(422, str(error)) from None
        response.headers["ETag"] = f'"{version}"'
        return (await self._shown([key]))[0]

    async def delete_credential(self, credential: str) -> None:
        """Delete a record; whoever uses it has none from the next call on. An account is ended as a connection."""
        key = _key(credential)
        if key == KEY_CHECK or not await self._vault.delete(key, purpose=PURPOSE, who=who()):
            raise not_found("credential", credential)

    async def check_credential(self, credential: str) -> Checked:
        """Read a record, and say whether it can be: the value is not shown, and not sent anywhere."""
        key = _key(credential)
        try:
            found = await self._vault.get(key, purpose=f"{PURPOSE}: check", who=who())
        except Undecryptable as error:
            return Checked(ok=False, reason=str(error))
        if found is None or key == KEY_CHECK:
            raise not_found("credential", credential)
        again = found.value.get("reconnect")
        return Checked(ok=again is None, reason=str(again or ""))

    async def _keys(self, wanted: str | None) -> list[RecordKey]:
        try:
            return [key for key in await self._vault.store.keys(wanted) if key != KEY_CHECK]
        except RecordRefused:
            return []

    async def _tag(self, key: RecordKey) -> str:
        found = await self._vault.store.read(key)
        return ABSENT if found is None or found.expired(self._vault.now()) else f'"{found.version}"'

    def _shared(self, plugin: str, name: str) -> RecordKey:
        if plugin not in self.administration.watched.current.plugins:
            raise not_found("plugin", plugin)
        mistake = ""
        try:
            key = RecordKey(namespace(plugin), name)
        except RecordRefused as error:
            mistake = str(error)
        if not mistake and _kind(name) != "value":
            mistake = f"{name} is a name that the gateway keeps its own records under: choose another"
        if mistake:
            raise Problem(422, mistake, mistakes=[Mistake(where="path.name", reason=mistake)])
        return key

    async def _shown(self, keys: list[RecordKey]) -> list[Credential]:
        found = await asyncio.gather(*map(self._vault.store.read, keys))
        ring, used = self._vault.cipher.key_ids, await last_uses(self.administration.state)
        shown = []
        for key, record in zip(keys, found, strict=True):
            if record is None:
                continue
            issuer, subject = _person(key)
            kind, _, name = key.namespace.partition(":")
            shown.append(
                Credential(
                    id=_id(key),
                    server=name if kind == "server" else "",
                    plugin=name if kind == "plugin" else "",
                    name=key.name,
                    kind=_kind(key.name),
                    shared=not key.owner,
                    issuer=issuer,
                    subject=subject,
                    state="ok" if record.key_id in ring else "undecryptable",
                    expires_at=record.expires_ms / 1000 if record.expires_ms else None,
                    last_used=used.get((key.label, key.owner)),
                )
            )
        return shown


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["credentials"], route_class=StrictRoute)
    served = CredentialRoutes(administration)
    router.get("/credentials")(served.list_credentials)
    router.get("/credentials/{credential}")(served.get_credential)
    router.delete("/credentials/{credential}", status_code=204)(served.delete_credential)
    router.post("/credentials/{credential}/check")(served.check_credential)
    router.put("/plugins/{plugin}/credentials/{name:path}")(served.put_value)
    return router


def _id(key: RecordKey) -> str:
    return encoded(json.dumps([key.namespace, key.owner, key.name], separators=(",", ":")))


def _key(credential: str) -> RecordKey:
    """The record of an id.

    Raises:
        Problem: 404, it is none.
    """
    try:
        parts: Any = json.loads(decoded(credential))
        space, owner, name = (str(each) for each in parts)
        return RecordKey(space, name, owner)
    except (Problem, ValueError, TypeError, RecordRefused):
        raise not_found("credential", credential[:80]) from None


def _person(key: RecordKey) -> tuple[str, str]:
    try:
        issuer, subject = json.loads(key.owner) if key.owner else ("", "")
    except ValueError:  # written from outside
        return "", key.owner
    return str(issuer), str(subject)


def _kind(name: str) -> Kind:
    return KINDS.get(name.partition(":")[0], "value")
