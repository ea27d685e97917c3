"""The record of a handshake session: all that any worker needs to serve it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast, get_args

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, InitializeRequestParams, LoggingLevel
from redis.asyncio.client import Pipeline

from switchboard.errors import SessionGone
from switchboard.protocol.resource_uris import equal
from switchboard.sessions.session_index import SessionIndex
from switchboard.sessions.session_quota import SessionQuota
from switchboard.state import State
from switchboard.state.keys import STANDALONE
from switchboard.telemetry.metrics import SESSIONS

RECORD_VERSION: Final = 1
"""Raised with the format. A format may only add to its predecessor, so that a fleet can be upgraded one by one."""

READABLE: Final = frozenset(str(RECORD_VERSION + step) for step in (-1, 0, 1))


LONGEST_PARAMS: Final = 16_384
"""Bytes of JSON that a session keeps of what its client said of itself; clients say some hundred."""

MOST_SUBSCRIPTIONS: Final = 1000
"""Resources that one session may be subscribed to."""

LONGEST_URI: Final = 2_048
"""Bytes of the URI of each."""

OLDEST: Final = "2024-11-05"

_FIELDS: Final = ("v", "owner", "protocol", "params", "level", "standalone", "followed", "subscribed", "pending")
"""What is read of a record, in the order that `_parse` takes."""

_SID: Final = re.compile(r"[0-9a-f]{48}")
"""What `create` mints: nothing else is asked of Redis."""

DEFAULT_LEVEL: Final[LoggingLevel] = "info"
"""The log level of a session that never sent `logging/setLevel`."""

_SEVERITY: Final = {level: rank for rank, level in enumerate(get_args(LoggingLevel))}
"""RFC 5424."""

SLIDES: Final = 10
"""How often in its time a worker slides the life of a session that is used, at most. Its life is longer by one such
part, so that its whole time is left after every use."""

MOST_SLID: Final = 20_000
"""Sessions of which a worker remembers when it slid their lives; the one slid longest ago is forgotten first."""

UNKNOWN: Final = '{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"unknown","version":"0"}}'
"""What is known of a client before `initialize`: nothing."""


StoredRecord = asyncio.Future[Any]
"""A record as it is being read; see `Records.begin`."""


@lru_cache(maxsize=2048)
def _client_params(stored: str) -> InitializeRequestParams:
    """Many clients declare the same; parsing is the dear part of loading a record."""
    return InitializeRequestParams.model_validate_json(stored, by_name=False)


def wanted(level: LoggingLevel | None, method: str, params: Mapping[str, Any] | None) -> bool:
    """Whether a notification may go to a client whose log level is `level`; only log messages are ever held back."""
    if method != "notifications/message":
        return True
    threshold = _SEVERITY[level or DEFAULT_LEVEL]
    return _SEVERITY.get((params or {}).get("level", "emergency"), threshold) >= threshold


@dataclass(frozen=True, slots=True)
class Record:
    """One session as it was stored when the request came in."""

    sid: str
    owner: str
    protocol_version: str
    params: str
    level: LoggingLevel | None
    held_by: str | None
    """The token of the standalone stream that is open somewhere, if one is."""
    has_streams: bool
    """Whether keys beside the record must be kept alive with it."""
    pending: bool = False
    """Whether `initialize` is still to come: an HTTP+SSE session exists before it."""

    @property
    def client_params(self) -> InitializeRequestParams:
        """What the client declared at `initialize`."""
        return _client_params(self.params)


class Records:
    """Session records in shared state. Every method may raise `StateUnavailable`.

    Args:
        ttl: how many seconds an idle session lives.
        max_sessions: how many one owner may have.
        clock: seconds; of this worker alone.
    """

    def __init__(
        self, state: State, ttl: float, max_sessions: int = 20_000, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._clock = clock
        self._slide_ms = int(ttl * 1000) // SLIDES
        self.ttl_ms = int(ttl * 1000) + self._slide_ms
        self._quota = SessionQuota(state, max_sessions, self.ttl_ms)
        self.index = SessionIndex(state)
        self._slid: dict[str, float] = {}
        """When this worker slid a session's life last, by the monotonic clock; in that order."""

    async def create(self, owner: str, protocol_version: str, params: InitializeRequestParams) -> str:
        """Store a new session and return its id (192 random bits, visible ASCII).

        Raises:
            TooMany: the owner has as many sessions as one may have.
            MCPError: what the client says of itself is too long to keep.
        """
        sid, fields = secrets.token_hex(24), _settled(owner, protocol_version, params)
        await self._quota.admit(owner, sid)
        await self._write(sid, dict(fields))
        SESSIONS.add("opened")
        return sid

    async def reserve(self, owner: str) -> str:
        """Store an HTTP+SSE session that is still to be initialized, and return its id."""
        sid = secrets.token_hex(24)
        await self._quota.admit(owner, sid)
        await self._write(sid, {**_common(owner), "protocol": OLDEST, "params": UNKNOWN, "pending": "1"})
        return sid

    async def write(self, sid: str, owner: str, protocol_version: str, params: InitializeRequestParams) -> None:
        """Store anew what `initialize` settled for a session that exists.

        Raises:
            SessionGone: it ended meanwhile.
            MCPError: as `create`.
        """
        fields = [part for pair in _settled(owner, protocol_version, params).items() for part in pair]
        with self._state.guard():
            done = await self._state.scripts.update(keys=[self._state.keys.session(sid)], args=[*fields, "pending", ""])
        _must_exist(sid, done)

    async def _write(self, sid: str, fields: dict[Any, Any]) -> None:
        key = self._state.keys.session(sid)
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping=fields)
                pipe.pexpire(key, self.ttl_ms)
                await pipe.execute()
        await self._state.replicas.hold(key)
        await self.index.add(sid)

    def begin(self, sid: str) -> StoredRecord | None:
        """Ask for a record, before it is known who wants it; for `load`, or to be left alone.

        Gives `None` when there can be none, and nothing is asked.
        """
        if not _SID.fullmatch(sid):
            return None
        return self._state.lookups.ask("HMGET", self._state.keys.session(sid), *_FIELDS)

    async def load(self, sid: str, owner: str, begun: StoredRecord | None = None) -> Record:
        """Read the record and slide its life; whoever is not its owner slides nothing.

        Args:
            sid: whatever the client says.
            owner: who asks.
            begun: what `begin` gave for this `sid` and this request, if it was called.

        Raises:
            SessionGone: unknown, expired, ended, or another principal's; the caller cannot tell which.
        """
        stored = begun or self.begin(sid)
        if stored is None:
            raise SessionGone(sid[:8])
        record = _parse(sid, await stored)
        if record is None or record.owner != owner:
            raise SessionGone(sid)
        await self._quota.used(owner)
        now = self._clock()
        if (now - self._slid.get(sid, float("-inf"))) * 1000 >= self._slide_ms:
            await self._slide(record, now)
        return record

    async def _slide(self, record: Record, now: float) -> None:
        """Have the session end later, and with it what is stored beside it."""
        self._note_slid(record.sid, now)
        try:
            # The worker that has the session's stream open keeps what belongs to that.
            beside = record.has_streams and record.held_by is None
            keys = self._keys(record.sid) if beside else self._keys(record.sid)[:1]
            await asyncio.gather(*(self._state.lookups.ask("PEXPIRE", key, self.ttl_ms) for key in keys))
        except BaseException:
            self._slid.pop(record.sid, None)
            raise

    def _note_slid(self, sid: str, now: float) -> None:
        self._slid.pop(sid, None)
        if len(self._slid) >= MOST_SLID:
            del self._slid[next(iter(self._slid))]
        self._slid[sid] = now

    async def delete(self, sid: str, owner: str) -> None:
        """End the session; what writes to it from now on is refused by its scripts."""
        keys = self._state.keys
        self._slid.pop(sid, None)
        await self._quota.release(owner, sid)
        await self.index.remove(sid)
        with self._state.guard():
            await self._state.redis.delete(keys.session(sid), keys.subscriptions(sid), keys.events(sid, STANDALONE))
            await self._state.pubsub.publish(keys.to_server(sid), "1")
            await self._state.pubsub.publish(keys.to_client(sid, STANDALONE), "1")
        SESSIONS.add("ended")

    async def set_level(self, sid: str, level: LoggingLevel) -> None:
        """Remember the least severe log level the client wants."""
        with self._state.guard():
            done = await self._state.scripts.update(keys=[self._state.keys.session(sid)], args=["level", level])
            await self._state.pubsub.publish(self._state.keys.to_client(sid, STANDALONE), "level")
        _must_exist(sid, done)

    async def subscribe(self, sid: str, uri: str) -> None:
        """Add a resource subscription.

        Raises:
            MCPError: the session has as many as one may have, or the URI is too long to keep.
        """
        if len(uri.encode()) > LONGEST_URI:
            raise MCPError(INVALID_PARAMS, f"The URI of a subscription may have {LONGEST_URI} bytes")
        await self._subscription(sid, "add", uri)

    async def unsubscribe(self, sid: str, uri: str) -> None:
        """Drop a resource subscription, in whichever form of the URI it was made."""
        for each in dict.fromkeys((uri, *equal(uri, await self.subscriptions(sid)))):
            await self._subscription(sid, "drop", each)

    async def subscriptions(self, sid: str) -> frozenset[str]:
        """The URIs the session is subscribed to."""
        with self._state.guard():
            members: Any = await self._state.redis.smembers(self._state.keys.subscriptions(sid))
        return frozenset(members)

    def keep(self, pipe: Pipeline, sid: str) -> None:
        """Queue the commands that keep a session with an open stream alive."""
        for key in self._keys(sid):
            pipe.pexpire(key, self.ttl_ms)

    async def _subscription(self, sid: str, verb: str, uri: str) -> None:
        keys = self._state.keys
        with self._state.guard():
            done = await self._state.scripts.subscribe(
                keys=[keys.session(sid), keys.subscriptions(sid)],
                args=[verb, uri, keys.to_client(sid, STANDALONE), MOST_SUBSCRIPTIONS],
            )
        _must_exist(sid, done)
        if done == ["full"]:
            raise MCPError(INVALID_PARAMS, f"A session may subscribe to {MOST_SUBSCRIPTIONS} resources; drop one first")

    def _keys(self, sid: str) -> Sequence[str]:
        keys = self._state.keys
        return keys.session(sid), keys.subscriptions(sid), keys.events(sid, STANDALONE)


def _common(owner: str) -> dict[str, str]:
    return {"v": str(RECORD_VERSION), "owner": owner, "created": str(int(time.time()))}


def _settled(owner: str, protocol_version: str, params: InitializeRequestParams) -> dict[str, str]:
    declared = params.model_dump_json(by_alias=True, exclude_none=True)
    if len(declared.encode()) > LONGEST_PARAMS:  # icons may be whole pictures, and nobody here looks at them
        declared = params.model_dump_json(by_alias=True, exclude_none=True, exclude={"client_info": {"icons"}})
    if (size := len(declared.encode())) > LONGEST_PARAMS:
        said = f"clientInfo and capabilities take {size} bytes; a session keeps {LONGEST_PARAMS} at most"
        raise MCPError(INVALID_PARAMS, said)
    return {**_common(owner), "protocol": protocol_version, "params": declared}


def _parse(sid: str, stored: Sequence[str | None]) -> Record | None:
    version, owner, protocol, params, level, standalone, followed, subscribed, pending = stored
    if version not in READABLE or owner is None or protocol is None or params is None:
        return None
    return Record(
        sid=sid,
        owner=owner,
        protocol_version=protocol,
        params=params,
        level=cast("LoggingLevel | None", level),
        held_by=standalone,
        has_streams=followed is not None or subscribed is not None,
        pending=pending == "1",
    )


def _must_exist(sid: str, reply: Any) -> None:
    if not reply:
        raise SessionGone(sid)
