"""Connections for commands: at most so many, and who finds all of them in use waits for a while.

redis-py's pools differ by the kind of server: some refuse at once, and the one that waits says the same as when the
server is away. Here each waits, and then raises `MaxConnectionsError` with what to do about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError
from redis.exceptions import TimeoutError as RedisTimeoutError

from switchboard.telemetry.metrics import REDIS_ROUND_TRIPS

FREE_CONNECTION_S: Final = 5.0
"""How long a command waits for a connection."""

_NONE_FREE: Final = "No connection available."
"""What redis-py's waiting pool says when its patience ends; nothing else tells it from a server that is away."""

_ASKING: Final = "ASKING"
"""Lets the next command on this connection be served by the node that its slot moves to."""


def _exhausted(connections: int) -> MaxConnectionsError:
    return MaxConnectionsError(
        f"All {connections} connections of this worker to Redis were in use for {FREE_CONNECTION_S:g} s:"
        " raise REDIS_MAX_CONNECTIONS, or run more workers"
    )


class Pool(BlockingConnectionPool):
    """A pool for one server."""

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        REDIS_ROUND_TRIPS.add("pool")
        try:
            return await super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
        except RedisConnectionError as error:
            if str(error) == _NONE_FREE:
                raise _exhausted(self.max_connections) from error
            raise


class SentinelPool(SentinelConnectionPool, Pool):
    """A pool for the master that Sentinel names."""


class Cluster(RedisCluster):
    """A client of a Cluster, with so many commands at once; redis-py itself refuses when a node's pool is used up."""

    def __init__(self, connections: int, **kwargs: Any) -> None:
        # A command that is sent on, and a look at the nodes, take further connections within their turn.
        super().__init__(max_connections=2 * connections, **kwargs)
        self._connections = connections
        self._turns = asyncio.Semaphore(connections)
        self._in_turn: ContextVar[bool] = ContextVar("in_turn", default=False)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Be one of the commands under way; the commands that a command makes share its turn.

        Raises:
            MaxConnectionsError: none ended in time.
        """
        if self._in_turn.get():
            yield
            return
        REDIS_ROUND_TRIPS.add("pool")
        try:
            async with asyncio.timeout(FREE_CONNECTION_S):
                await self._turns.acquire()
        except TimeoutError as error:
            raise _exhausted(self._connections) from error
        token = self._in_turn.set(True)
        try:
            yield
        finally:
            self._in_turn.reset(token)
            self._turns.release()

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        """Find out what is where; while a master is dead, whose place nobody has taken yet, from the others.

        redis-py asks the first master for its table of commands. If that one is dead, commands to the others fail too.
        """
        for _ in range(len(self.get_primaries()) or 1):  # of a new client, the first attempt finds them
            try:
                return await super().initialize(*args, **kwargs)
            except (RedisConnectionError, RedisTimeoutError):
                self.nodes_manager.move_node_to_end_of_cached_nodes(self.get_primaries()[0].name)
        return await super().initialize(*args, **kwargs)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        async with self.turn():
            return await super().execute_command(*args, **kwargs)

    async def end(self) -> None:
        """Close every connection. redis-py's `aclose` closes none while it means to find out anew what is where."""
        await self.aclose()
        for known in ("nodes_cache", "startup_nodes"):
            await self.nodes_manager.aclose(known)

    def get_node(self, host: Any = None, port: Any = None, node_name: Any = None) -> Any:
        """See redis-py. For a command under way, whose key is on its way to another node, it is that node."""
        node = super().get_node(host, port, node_name)
        return _AskedNode(node) if node and node_name and self._in_turn.get() else node

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        return _Pipeline(self, transaction)  # type: ignore[abstract]


class _Pipeline(ClusterPipeline):
    """A pipeline that takes one turn for all of its commands."""

    cluster_client: Cluster

    async def execute(self, *args: Any, **kwargs: Any) -> list[Any]:
        async with self.cluster_client.turn():
            return await super().execute(*args, **kwargs)


class _AskedNode:
    """The node that a slot moves to, asked for a key that has gone there already.

    Such a command comes right after ASKING on one connection (https://redis.io/docs/latest/commands/asking/). redis-py
    sends each over any that is free, and when they are not the same is sent back and forth until it gives up.
    """

    def __init__(self, node: ClusterNode) -> None:
        self._node: Any = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def execute_command(self, *args: Any, asking: bool = False, **kwargs: Any) -> Any:
        if args == (_ASKING,):
            return "OK"  # it goes with the command, which comes next
        connection = self._node.acquire_connection()
        try:
            await self._node.disconnect_if_needed(connection)
            await connection.send_command(_ASKING)
            await connection.read_response()
            await connection.send_command(*args)
            return await self._node.parse_response(connection, args[0], **kwargs)
        finally:
            self._node.release(connection)
