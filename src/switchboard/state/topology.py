"""Where a channel is served: at the one server there is, or in a Cluster at the master of the channel's slot.

A Cluster passes a plain PUBLISH on to every node, whoever listens there. Sharded pub/sub stays with the nodes of the
channel's slot: a wake-up costs the same however many masters there are, and each subscription has a place where it
belongs. (https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub, Redis 7.0)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import MovedError

Place = tuple[str, int]
"""Host and port of a server."""

HERE: Final[Place] = ("", 0)
"""The one server there is."""


def publishing(redis: Redis) -> str:
    """The command that publishes on the server of `redis`; in a script, on a channel in the slot of its keys."""
    return "SPUBLISH" if isinstance(redis, RedisCluster) else "PUBLISH"


class Topology(Protocol):
    """The servers that serve channels."""

    sharded: bool
    """Whether pub/sub is sharded there, so that the place of a channel may change."""

    def slot(self, channel: str) -> int:
        """What decides where the channel is served."""
        ...

    def place(self, slot: int) -> Place | None:
        """Where the slot is served; `None` while that is not known."""
        ...

    def known(self) -> Collection[Place]:
        """Every place there is."""
        ...

    def connection(self, place: Place) -> Any:
        """A connection to that place which nobody else uses; not connected yet."""
        ...

    async def look(self) -> None:
        """Find out anew what is where; raises what redis-py raises when nobody can say."""
        ...

    async def learn(self, moved: MovedError) -> None:
        """Take note of who serves a slot now."""
        ...


class SingleServer:
    """Serves every channel. Satisfies `Topology`."""

    sharded = False

    def __init__(self, connection: Callable[[], Any]) -> None:
        self._connection = connection

    def slot(self, _channel: str) -> int:
        """See `Topology`."""
        return 0

    def place(self, _slot: int) -> Place:
        """See `Topology`."""
        return HERE

    def known(self) -> Collection[Place]:
        """See `Topology`."""
        return (HERE,)

    def connection(self, _place: Place) -> Any:
        """See `Topology`."""
        return self._connection()

    async def look(self) -> None:
        """See `Topology`."""

    async def learn(self, _moved: MovedError) -> None:
        """See `Topology`."""


class ClusterMasters:
    """The masters of a Cluster, as its client for commands knows them. Satisfies `Topology`.

    Args:
        seeds: asked too when none of the nodes that were found answers: all may have new addresses.
    """

    sharded = True

    def __init__(self, client: RedisCluster, seeds: Sequence[Place], connection: Callable[[str, int], Any]) -> None:
        self._seeds = list(seeds)
        self._client = client
        self._nodes = client.nodes_manager
        self._connection = connection

    def slot(self, channel: str) -> int:
        """See `Topology`."""
        return key_slot(channel.encode())

    def place(self, slot: int) -> Place | None:
        """See `Topology`."""
        nodes = self._nodes.slots_cache.get(slot)
        return (nodes[0].host, int(nodes[0].port)) if nodes else None

    def known(self) -> Collection[Place]:
        """See `Topology`."""
        return {(node.host, int(node.port)) for node in self._nodes.get_nodes_by_server_type(PRIMARY)}

    def connection(self, place: Place) -> Any:
        """See `Topology`."""
        return self._connection(*place)

    async def look(self) -> None:
        """See `Topology`."""
        if self._nodes.slots_cache:
            await self._nodes.initialize(additional_startup_nodes_info=self._seeds)
        else:
            await self._client.initialize()

    async def learn(self, moved: MovedError) -> None:
        """See `Topology`."""
        if moved.slot_id in self._nodes.slots_cache:
            await self._nodes.move_slot(moved)
