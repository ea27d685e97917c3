"""Look-ups: the commands that every request needs, asked of Redis without waiting for a connection.

`ask` gives a future at once, and what is asked within one turn of the event loop leaves in one write: whoever needs two
answers asks twice, and then waits. All requests of the worker share one connection to each server, and replies come in
the order of the commands. So only what takes Redis the same short time whatever is stored, and has a short reply, may
be asked here: EXISTS, GET, HMGET, PEXPIRE, a script of such commands, a short PUBLISH. One long command, or one large
reply, would hold up every request. What reads streams, sets or whole hashes, what blocks, and transactions go over
`State.redis`, and so does everything that is not needed for each request.

On a Cluster each master has a connection. What a master does not serve, and what was not sent since there is no
connection to it, is asked once more by redis-py's client, which finds out where slots are; `memory://` has that client
alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, NoScriptError, TryAgainError

from switchboard.aio import Start, background
from switchboard.errors import StateUnavailable
from switchboard.state.contact import Contact
from switchboard.state.lookup_connection import Command, LookupConnection, refuse
from switchboard.state.redis_compat import AWAY, unavailable
from switchboard.state.topology import Place, Topology
from switchboard.telemetry.metrics import REDIS_ERRORS

_NOT_HERE: Final = (AskError, TryAgainError, ClusterDownError)
"""A master does not serve the slot, or not now; MOVED is an `AskError` too."""

_LEAVING: Final = "Redis is away, and this worker leaves"


class Lookups:
    """This worker's look-ups. Satisfies `LookupListener`.

    Args:
        redis: the client for commands.
        places: the servers to have connections to; `None` for none, which leaves everything to the client.
        contact: hears of connections that broke, and says when nothing is asked of Redis any more.
    """

    def __init__(self, redis: Redis, places: Topology | None, contact: Contact) -> None:
        self._redis: Any = redis
        self._places = places
        self._sharded = places is not None and places.sharded
        self._contact = contact
        self._connections: dict[Place, LookupConnection] = {}
        self._scripts: dict[str, AsyncScript] = {}
        """By their hash, for servers that do not know them yet."""
        self._start: Start | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Lookups]:
        """Answer for as long as the context is open."""
        self._loop = asyncio.get_running_loop()
        async with background() as self._start:
            try:
                yield self
            finally:
                connections, self._connections = self._connections, {}
                for connection in connections.values():
                    connection.close()
                self._start = None

    def ask(self, *command: str | int | float, key: str | None = None) -> asyncio.Future[Any]:
        """Ask Redis for one thing, or tell it one.

        Gives a future that may be cancelled, which takes nothing back, or left alone. It raises `StateUnavailable` when
        Redis is away, or when nobody knows whether the command was done, and redis-py's `ResponseError` for a command
        that is wrong.

        Args:
            command: its name and its arguments.
            key: a key that it is about, where that is not its first argument.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        if self._contact.given_up or self._start is None:
            refuse(reply, StateUnavailable(_LEAVING))
        elif connection := self._connection(str(command[1]) if key is None else key):
            connection.send(reply, command)
        else:
            self._again(reply, command)
        return reply

    def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[str | int | float]) -> asyncio.Future[Any]:
        """Run a script; as `ask`."""
        self._scripts[script.sha] = script
        return self.ask("EVALSHA", script.sha, len(keys), *keys, *args, key=keys[0])

    # -- connections -----------------------------------------------------------------------------------------------

    def _connection(self, key: str) -> LookupConnection | None:
        if self._places is None:
            return None
        place = self._places.place(self._places.slot(key))
        if place is None:
            return None
        return self._connections.get(place) or self._connected(self._places, place)

    def _connected(self, places: Topology, place: Place) -> LookupConnection:
        """A connection to one more server; those to servers that serve nothing any more end."""
        for gone in self._connections.keys() - places.known():
            if self._connections[gone].idle:
                self._connections.pop(gone).close()
        name = ":".join(map(str, place)) if places.sharded else ""
        connection = LookupConnection(name, lambda: places.connection(place), self._background, self)
        self._connections[place] = connection
        return connection

    def lost(self) -> None:
        """See `LookupListener`."""
        REDIS_ERRORS.add("connection lost")
        self._contact.broken()

    def refused(self, reply: asyncio.Future[Any], command: Command, error: Exception) -> None:
        """See `LookupListener`."""
        if isinstance(error, NoScriptError) or (self._sharded and isinstance(error, _NOT_HERE)):
            self._again(reply, command, error)
        else:
            refuse(reply, _told(error))

    def unsent(self, reply: asyncio.Future[Any], command: Command, error: Exception) -> None:
        """See `LookupListener`."""
        if self._sharded:  # another may have taken the server's place
            self._again(reply, command)
        else:
            refuse(reply, unavailable(error))

    # -- the client for commands -----------------------------------------------------------------------------------

    def _again(self, reply: asyncio.Future[Any], command: Command, error: Exception | None = None) -> None:
        if self._start is None:
            refuse(reply, StateUnavailable(_LEAVING))
        else:
            self._background(self._by_client(reply, command, error))

    def _background(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it in the context of no request."""
        if self._start is None:
            raise RuntimeError("look-ups are closed")
        return Context().run(self._start, coroutine)

    async def _by_client(self, reply: asyncio.Future[Any], command: Command, error: Exception | None) -> None:
        """Have redis-py's client ask; `error` is what a connection of ours was answered."""
        try:
            if isinstance(error, MovedError) and self._places:
                await self._places.learn(error)
            answer = await self._executed(command)
        except Exception as failure:  # whatever it is, the caller has to hear of it
            refuse(reply, _told(failure))
        else:
            if not reply.done():
                reply.set_result(answer)
        finally:
            refuse(reply, StateUnavailable(_LEAVING))

    async def _executed(self, command: Command) -> Any:
        try:
            return await self._redis.execute_command(*command)
        except NoScriptError:
            _evalsha, sha, keys, *rest = command
            return await self._scripts[str(sha)](keys=[str(key) for key in rest[: int(keys)]], args=rest[int(keys) :])


def _told(error: Exception) -> Exception:
    """What the caller hears of an error: those of the server's state are `StateUnavailable`."""
    return unavailable(error) if isinstance(error, (*AWAY, *_NOT_HERE, ClusterError)) else error
