"""Pub/sub for a whole worker, over one connection to each server that has a channel of ours.

`subscribed` enters only after the server's confirmation, so that what it looks at next cannot have been published
unseen before. A channel that has to be confirmed again, since a connection broke or a Cluster moved its slot, may have
missed something: its listeners are called with an empty payload, look again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError

from switchboard.aio import SmallEvent, background, task_group, wait_for_event
from switchboard.errors import StateUnavailable
from switchboard.state.lookups import Lookups
from switchboard.state.pubsub_connection import PubSubConnection
from switchboard.state.redis_compat import unavailable
from switchboard.state.topology import Place, Topology, publishing

Listener = Callable[[str], None]

_FAILED: Final = (RedisError, RedisClusterException, OSError)
"""What redis-py raises; of a Cluster that it cannot make out, an error of its own kind."""

SMALL_CHARS: Final = 16_384
"""A longer payload does not go over the connection on which every request of this worker waits for its look-ups."""

SUBSCRIBE_TIMEOUT_S: Final = 5.0

COMPARE_S: Final = 5.0
"""How often channels are compared with what the client for commands has learned of a Cluster meanwhile."""

RESUBSCRIBE_S: Final = 0.2
"""How long a channel that a server dropped waits to be subscribed to again."""

LOOK_EVERY_S: Final = 2.0
"""The least time between two looks at a Cluster: each makes redis-py renew all of its own connections."""

log = structlog.get_logger("switchboard.state")


class _Channel:
    """A wished-for channel: its listeners, where it is subscribed to, and whether the server has confirmed it."""

    __slots__ = ("confirmed", "connection", "listeners", "refused", "renewed", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.listeners: dict[object, Listener] = {}
        self.connection: PubSubConnection | None = None
        self.confirmed = SmallEvent()
        self.renewed = False
        self.refused = False

    def interrupted(self) -> bool:
        """The server may not have it any more; whether it had it."""
        if not self.confirmed.is_set():
            return False
        self.confirmed.clear()
        self.renewed = True
        return True

    def tell(self, payload: str) -> None:
        """Call the listeners; what one of them raises is its own failure, and nobody else's."""
        for listener in list(self.listeners.values()):
            try:
                listener(payload)
            except Exception:  # the boundary between the worker's one reader and everybody it reads for
                log.exception("redis.listener_failed")


class PubSub:
    """This worker's pub/sub. Satisfies `switchboard.state.pubsub_connection.Ears`.

    Args:
        lookups: publishes what is short.
        broken: called when a connection that served a channel ended.
    """

    def __init__(
        self, redis: Redis, places: Topology, lookups: Lookups, broken: Callable[[], None] = lambda: None
    ) -> None:
        self._on_broken = broken
        self._redis: Any = redis
        self._publish = publishing(redis)
        self._topology = places
        self._lookups = lookups
        self._channels: dict[str, _Channel] = {}
        self._connections: dict[Place, PubSubConnection] = {}
        self._misplaced = asyncio.Event()
        self._moved: list[MovedError] = []
        self._broken = False
        self._leaving = False

    @property
    def connected(self) -> bool:
        """Whether every channel's server is connected, and answers."""
        return bool(self._connections) and all(connection.answers for connection in self._connections.values())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[PubSub]:
        """Keep the connections up for as long as the context is open."""
        async with task_group() as self._tasks, background(self._keep_placed()):
            try:
                yield self
            finally:
                self._leaving = True
                for connection in self._connections.values():
                    connection.stop()

    @contextlib.asynccontextmanager
    async def subscribed(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Have `listener` called with each payload on `channel`, from the server's confirmation on.

        The listener runs on the event loop, synchronously, and must not raise. An empty payload also means
        "something may have been missed, look at the stored copy".

        Raises:
            StateUnavailable: the server did not confirm within SUBSCRIBE_TIMEOUT_S.
        """
        token = object()
        entry = self._wish(channel)
        entry.listeners[token] = listener
        try:
            if not await entry.confirmed.wait(SUBSCRIBE_TIMEOUT_S):
                raise StateUnavailable("Redis did not confirm a subscription")
            yield
        finally:
            self._forget(channel, entry, token)

    async def publish(self, channel: str, payload: str) -> int:
        """Publish; gives how many connections were subscribed to the channel.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        try:
            if len(payload) <= SMALL_CHARS:
                return int(await self._lookups.ask(self._publish, channel, payload))
            return int(await self._redis.execute_command(self._publish, channel, payload))
        except _FAILED as error:
            raise unavailable(error) from error

    async def listeners(self, channel: str) -> int:
        """How many connections, of whichever worker, are subscribed to the channel."""
        if not self._topology.sharded:
            counted: Any = await self._redis.pubsub_numsub(channel)
        else:
            where = self._redis.get_node_from_key(channel)
            counted = await self._redis.execute_command("PUBSUB SHARDNUMSUB", channel, target_nodes=where)
        return int(counted[0][1])

    def _wish(self, channel: str) -> _Channel:
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = _Channel(self._topology.slot(channel))
            self._put(channel, entry)
        return entry

    def _forget(self, channel: str, entry: _Channel, token: object) -> None:
        entry.listeners.pop(token, None)
        if not entry.listeners and self._channels.get(channel) is entry:
            del self._channels[channel]
            if entry.connection:
                entry.connection.unsubscribe(channel)

    # -- where a channel belongs -----------------------------------------------------------------------------------

    def _put(self, channel: str, entry: _Channel) -> None:
        """Subscribe to the channel where it is served now, if it is not yet."""
        place = self._topology.place(entry.slot)
        connection = self._connection_to(place) if place else None
        if connection is None:
            self._broken = True
            self._misplaced.set()
        if connection is entry.connection:
            return
        if entry.connection:
            entry.connection.unsubscribe(channel)
            entry.interrupted()
        entry.connection = connection
        if connection:
            connection.subscribe(channel)

    def _connection_to(self, place: Place) -> PubSubConnection | None:
        if place not in self._connections and not self._leaving:
            name = ":".join(map(str, place)) if self._topology.sharded else ""
            connection = PubSubConnection(name, lambda: self._topology.connection(place), self._topology.sharded, self)
            connection.start(self._tasks)
            self._connections[place] = connection
        return self._connections.get(place)

    async def _keep_placed(self) -> None:
        """Subscribe where it is served now to what is subscribed to nowhere, or elsewhere."""
        clock, next_look = asyncio.get_running_loop().time, 0.0
        while not self._leaving:
            await wait_for_event(self._misplaced, COMPARE_S if self._topology.sharded else None)
            self._misplaced.clear()
            if self._broken and clock() >= next_look:
                await self._look()
                next_look = clock() + LOOK_EVERY_S
            await self._learn()
            for channel, entry in list(self._channels.items()):
                self._put(channel, entry)
            self._end_wires()
            await asyncio.sleep(RESUBSCRIBE_S)
            if self._broken:
                self._misplaced.set()

    async def _look(self) -> None:
        """Ask the Cluster what is where."""
        self._broken = False
        try:
            await self._topology.look()
        except _FAILED as error:
            log.warning("redis.cluster_unknown", error=str(error))
            self._broken = True

    async def _learn(self) -> None:
        """Take from servers that refused a channel who serves it."""
        moved, self._moved = self._moved, []
        for slot, error in {error.slot_id: error for error in moved}.items():
            log.debug("redis.slot_moved", slot=slot, to=f"{error.host}:{error.port}")
            try:
                await self._topology.learn(error)
            except _FAILED:  # it names nobody that redis-py knows: a look will tell
                self._broken = True

    def _end_wires(self) -> None:
        """Close connections to servers that serve nothing any more."""
        for place in self._connections.keys() - self._topology.known():
            if self._connections[place].idle:
                self._connections.pop(place).stop()

    # -- what the wires say ----------------------------------------------------------------------------------------

    def confirmed(self, connection: PubSubConnection, channel: str) -> None:
        """See `Ears`."""
        entry = self._at(connection, channel)
        if entry is None:
            return
        entry.confirmed.set()
        entry.refused = False
        if entry.renewed:
            entry.renewed = False
            entry.tell("")

    def heard(self, connection: PubSubConnection, channel: str, payload: str) -> None:
        """See `Ears`."""
        if entry := self._at(connection, channel):
            entry.tell(payload)

    def lost(self, connection: PubSubConnection, channels: Collection[str]) -> None:
        """See `Ears`."""
        found = [entry for channel in channels if (entry := self._at(connection, channel))]
        served = [entry for entry in found if entry.interrupted()]
        if served:
            self._on_broken()
        if self._topology.sharded:
            self._broken = True
            self._misplaced.set()

    def dropped(self, connection: PubSubConnection, channel: str, error: ResponseError | None) -> None:
        """See `Ears`."""
        entry = self._at(connection, channel)
        if entry is None:
            return
        entry.interrupted()
        entry.connection = None
        self._misplaced.set()
        if isinstance(error, MovedError):
            self._moved.append(error)
        elif error and not entry.refused:
            entry.refused = True
            log.warning("redis.channel_refused", channel=channel, error=str(error))

    def _at(self, connection: PubSubConnection, channel: str) -> _Channel | None:
        """The channel, if that is where it is subscribed to."""
        entry = self._channels.get(channel)
        return entry if entry and entry.connection is connection else None


def parsed(payload: str, *, sendable: bool = True) -> dict[str, Any] | None:
    """The JSON object in a payload; `None` for anything else.

    Args:
        sendable: whether it must hold no half of a surrogate, which can be part of no key and no message.
    """
    try:
        found = json.loads(payload) if payload else None
        if not isinstance(found, dict):
            return None
        if sendable and "\\u" in payload:  # the payload itself is text, which has no such half
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found
