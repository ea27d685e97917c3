"""For whom a connection is kept.

The rule, for a backend whose configuration says nothing: `shared` if it speaks the modern era over HTTP, where every
request stands alone; else `session`, because whoever shares a stateful connection shares what the others left on it.
Where each person has a credential of their own, `user` takes the place of `shared`.

A connection that everybody shares declares that its client can be asked everything, since somebody's can; a question
for one that cannot is refused here. Any other is kept apart by what its client can be asked.

`session` means the client's handshake session. A modern client has none, so it means its principal; and where nobody is
known by name (`AUTH_MODE=none`), each call gets a connection of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from switchboard.backends.caller import Params
from switchboard.backends.config import Backend, Http, Stdio
from switchboard.config import ConnectionScope
from switchboard.identity import ANONYMOUS, Caller
from switchboard.outbound_auth.credentials import GATEWAY as GATEWAY_ITSELF
from switchboard.outbound_auth.credentials import PersonCredentials, carried

SESSION_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}")
"""A session's id; any other owner is a JSON array."""

GATEWAY: Final = "discovery"
"""The owner of the connection on which the gateway asks what there is."""

ALL_CAPABILITIES: Final[Params] = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
"""All that clients can be asked."""


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """Which connection of a backend."""

    kind: ConnectionScope
    owner: str
    """Whose it is; empty for everybody's."""

    capabilities: str
    """A digest of what the client can be asked: clients that differ in it never share a connection."""

    user: str = ""
    """Whose cap it counts against."""

    once: bool = False
    """Whether it is for one call only."""

    @property
    def sid(self) -> str | None:
        """The client's session that it ends with, if it is a session's."""
        return self.owner if self.kind == "session" and SESSION_ID.fullmatch(self.owner) else None

    def concerns(self, sid: str, user: str) -> bool:
        """Whether it is the connection of this session, or of this person."""
        return self.sid == sid if self.kind == "session" else self.kind == "user" and self.user == user

    @property
    def tag(self) -> str:
        """What a connection's keys in Redis have in common: the session id, or a digest of a person."""
        return self.sid or hashlib.sha256(self.owner.encode()).hexdigest()[:32]


def default_scope(backend: Backend, *, modern: bool) -> ConnectionScope:
    """The scope that a backend gets: its own word, else the safe one."""
    if backend.scope is not None:
        return backend.scope
    if not modern or isinstance(backend.transport, Stdio):
        return "session"
    return "user" if backend.credentials.per_person else "shared"


def single_connection(backend: Backend) -> bool:
    """Whether there is one connection in the whole fleet, which only one worker has at a time."""
    return backend.scope == "shared" and not isinstance(backend.transport, Http)


def key_for(scope: ConnectionScope, caller: Caller, capabilities: Params) -> ConnectionKey:
    """The connection for a call."""
    if scope == "shared":
        return SHARED
    user, able = caller.principal.person, digest(capabilities)
    if scope == "user":
        return ConnectionKey("user", user, able, user)
    if caller.session_id is not None:
        return ConnectionKey("session", caller.session_id, able, user)
    known = caller.principal.owner != ANONYMOUS.owner
    return ConnectionKey("session", caller.principal.owner, able, user, once=not known)


def credentials_for(backend: Backend, key: ConnectionKey) -> PersonCredentials | None:
    """What the requests of a connection carry; `None` where nothing is added to any."""
    return carried(backend.credentials, key.user if backend.credentials.per_person else GATEWAY_ITSELF)


def digest(capabilities: Params) -> str:
    """Equal for equal capabilities."""
    text = json.dumps(capabilities, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


SHARED: Final = ConnectionKey("shared", "", digest(ALL_CAPABILITIES))
"""The connection that everybody shares."""
