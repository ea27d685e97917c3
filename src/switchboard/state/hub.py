"""Pub/sub for a whole worker over one connection.

One reader and one writer own the socket; everybody else states a wish. The writer sends the difference between what
is wished and what was sent, the reader notes what the server confirmed. `subscribed` enters only after that
confirmation, so that what it looks at next cannot have been published unseen before. When the connection breaks, a
new generation starts from the wishes, and every listener is called with an empty payload: look again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from switchboard.errors import StateUnavailable
from switchboard.state.away import unavailable

Listener = Callable[[str], None]

PING_EVERY_S: Final = 5.0
SILENT_AFTER_S: Final = 12.0
RECONNECT_S: Final = (0.02, 0.1, 0.5, 1.0)
SUBSCRIBE_TIMEOUT_S: Final = 5.0

log = structlog.get_logger("switchboard.state")


class _Channel:
    """A wished-for channel: its listeners, and whether the server has confirmed it in this generation."""

    __slots__ = ("confirmed", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[object, Listener] = {}
        self.confirmed = asyncio.Event()


class Hub:
    """This worker's pub/sub."""

    def __init__(self, redis: Redis, connection: Callable[[], Any]) -> None:
        self._redis = redis
        self._connection = connection
        self._channels: dict[str, _Channel] = {}
        self._sent: set[str] = set()
        self._unconfirmed: dict[str, int] = {}
        self._dirty = asyncio.Event()
        self.generation = 0
        """How many connections there have been; more than one means it broke and came back."""
        self.connected = False
        self._leaving = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Keep the connection up for as long as the context is open."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keep_connected())
            try:
                yield self
            finally:
                self._leaving = True  # a group that fails in the same moment hides the cancellation
                keeper.cancel()

    @contextlib.asynccontextmanager
    async def subscribed(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Have `listener` called with each payload on `channel`, from the server's confirmation on.

        The listener runs on the event loop, synchronously, and must not raise. An empty payload also means
        "the connection was renewed: something may have been missed, look at the stored copy".

        Raises:
            StateUnavailable: the server did not confirm within SUBSCRIBE_TIMEOUT_S.
        """
        token = object()
        wish = self._wish(channel)
        wish.listeners[token] = listener
        try:
            try:
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                    await wish.confirmed.wait()
            except TimeoutError as error:
                raise StateUnavailable("Redis did not confirm a subscription") from error
            yield
        finally:
            self._forget(channel, wish, token)

    async def publish(self, channel: str, payload: str) -> None:
        """Publish; nothing is known of who listens.

        Raises:
            StateUnavailable: Redis is away.
        """
        try:
            await self._redis.publish(channel, payload)
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    def _wish(self, channel: str) -> _Channel:
        wish = self._channels.get(channel)
        if wish is None:
            wish = self._channels[channel] = _Channel()
            if channel in self._sent and not self._unconfirmed.get(channel):
                wish.confirmed.set()  # dropped and wished for again before the writer noticed
            self._dirty.set()
        return wish

    def _forget(self, channel: str, wish: _Channel, token: object) -> None:
        wish.listeners.pop(token, None)
        if not wish.listeners and self._channels.get(channel) is wish:
            del self._channels[channel]
            self._dirty.set()

    async def _keep_connected(self) -> None:
        failures = 0
        while not self._leaving:
            connection = self._connection()
            try:
                await connection.connect()
                failures = 0
                await self._serve(connection)
            except* (RedisError, OSError, TimeoutError) as group:
                failures += 1
                log.warning("redis.pubsub_lost", error=str(group.exceptions[0]), generation=self.generation)
            finally:
                self.connected = False
                await connection.disconnect(nowait=True)
            if not self._leaving:
                await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S)) - 1])

    async def _serve(self, connection: Any) -> None:
        self.generation += 1
        self._sent = set()
        self._unconfirmed = {}
        for wish in self._channels.values():
            wish.confirmed.clear()
        self._dirty.set()
        self.connected = True
        if self.generation > 1:
            log.info("redis.pubsub_renewed", generation=self.generation, channels=len(self._channels))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(connection))
            tasks.create_task(self._read(connection))

    async def _write(self, connection: Any) -> None:
        while True:
            self._dirty.clear()
            if added := [name for name in self._channels if name not in self._sent]:
                self._sent.update(added)
                for name in added:
                    self._unconfirmed[name] = self._unconfirmed.get(name, 0) + 1
                await connection.send_command("SUBSCRIBE", *added)
            if dropped := [name for name in self._sent if name not in self._channels]:
                self._sent.difference_update(dropped)
                await connection.send_command("UNSUBSCRIBE", *dropped)
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._dirty.wait()
            except TimeoutError:
                if self._sent:
                    await connection.send_command("PING")

    async def _read(self, connection: Any) -> None:
        while True:
            message = await connection.read_response(timeout=SILENT_AFTER_S, disconnect_on_error=False)
            if message is None:
                if self._sent:
                    raise TimeoutError("the pub/sub connection went silent")
                continue
            self._deliver(message)

    def _deliver(self, message: Any) -> None:
        if not isinstance(message, list) or len(message) != 3:
            return
        kind, channel, payload = message
        wish = self._channels.get(channel)
        if kind == "subscribe":
            self._confirm(channel, wish)
        elif kind == "message" and wish is not None:
            for listener in list(wish.listeners.values()):
                listener(payload)

    def _confirm(self, channel: str, wish: _Channel | None) -> None:
        outstanding = self._unconfirmed.pop(channel, 1) - 1
        if outstanding:  # an UNSUBSCRIBE and another SUBSCRIBE are still under way: only the last one counts
            self._unconfirmed[channel] = outstanding
            return
        if wish is None:
            return
        wish.confirmed.set()
        if self.generation > 1:
            for listener in list(wish.listeners.values()):
                listener("")
