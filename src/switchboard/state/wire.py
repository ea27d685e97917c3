"""One pub/sub connection, kept up.

One reader and one writer own the socket; everybody else states a wish. The writer sends the difference between what is
wished and what was sent, the reader notes what the server confirmed. When the connection breaks, a new generation
starts from the wishes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Protocol

import structlog
from redis.exceptions import MovedError, RedisError

PING_EVERY_S: Final = 5.0
SILENT_AFTER_S: Final = 12.0
RECONNECT_S: Final = (0.02, 0.1, 0.5, 1.0)

_PLAIN: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "message")
_SHARDED: Final = ("SSUBSCRIBE", "SUNSUBSCRIBE", "smessage")

log = structlog.get_logger("switchboard.state")


class Ears(Protocol):
    """Who wants to know. Every method runs on the event loop, synchronously, and must not raise."""

    def confirmed(self, wire: Wire, channel: str) -> None:
        """From here on nothing published on the channel is missed."""
        ...

    def heard(self, wire: Wire, channel: str, payload: str) -> None:
        """Somebody published."""
        ...

    def lost(self, wire: Wire, channels: Collection[str]) -> None:
        """The connection broke; it is made anew, and these will be confirmed again."""
        ...

    def astray(self, wire: Wire, channels: Collection[str]) -> None:
        """These are not served there, or not any more; the wire has dropped them."""
        ...


class Wire:
    """A connection to one server.

    Args:
        connection: makes one that nobody else uses.
        sharded: whether what is subscribed to are shard channels.
        slot: those of one slot may stand in one command.
    """

    def __init__(self, connection: Callable[[], Any], sharded: bool, slot: Callable[[str], int], ears: Ears) -> None:
        self._connection = connection
        self._subscribe, self._unsubscribe, self._message = _SHARDED if sharded else _PLAIN
        self._slot = slot
        self._ears = ears
        self._wished: set[str] = set()
        self._changed: set[str] = set()
        self._sent: set[str] = set()
        self._unconfirmed: dict[str, int] = {}
        self._dirty = asyncio.Event()
        self.generation = 0
        """How many connections there have been; more than one means it broke and came back."""
        self.connected = False
        self._failures = 0
        self._leaving = False

    @property
    def idle(self) -> bool:
        """Whether nobody wishes for anything."""
        return not self._wished

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Keep the connection up until `stop`."""
        self._running = tasks.create_task(self._keep_connected())

    def stop(self) -> None:
        """Close the connection."""
        self._leaving = True  # a group that fails in the same moment hides the cancellation
        self._running.cancel()

    def subscribe(self, channel: str) -> bool:
        """Wish for `channel`; `True` if the server has it already: dropped, and wished for again in the same moment."""
        self._wished.add(channel)
        self._note(channel)
        return channel in self._sent and not self._unconfirmed.get(channel)

    def unsubscribe(self, channel: str) -> None:
        """Wish for `channel` no longer."""
        self._wished.discard(channel)
        self._note(channel)

    async def _keep_connected(self) -> None:
        while not self._leaving:
            connection = self._connection()
            try:
                await connection.connect()
                await self._serve(connection)
            except* (RedisError, OSError, TimeoutError) as group:
                self._failures += 1
                log.warning("redis.pubsub_lost", error=str(group.exceptions[0]), generation=self.generation)
            finally:
                self.connected = False
                await connection.disconnect(nowait=True)
            if not self._leaving:
                self._ears.lost(self, list(self._wished))
                await asyncio.sleep(RECONNECT_S[min(self._failures, len(RECONNECT_S)) - 1])

    def _note(self, channel: str) -> None:
        self._changed.add(channel)
        self._dirty.set()

    async def _serve(self, connection: Any) -> None:
        self.generation += 1
        self._sent, self._unconfirmed = set(), {}
        self._changed = set(self._wished)
        self._dirty.set()
        self.connected = True
        if self.generation > 1:
            log.info("redis.pubsub_renewed", generation=self.generation, channels=len(self._wished))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(connection))
            tasks.create_task(self._read(connection))

    async def _write(self, connection: Any) -> None:
        while True:
            self._dirty.clear()
            if commands := list(self._difference()):
                await connection.send_packed_command(connection.pack_commands(commands))
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._dirty.wait()
            except TimeoutError:
                if self._sent:
                    await connection.send_command("PING")

    def _difference(self) -> Iterable[tuple[str, ...]]:
        """The commands from what was sent to what is wished for now."""
        changed, self._changed = self._changed, set()
        added = [channel for channel in changed if channel in self._wished and channel not in self._sent]
        dropped = [channel for channel in changed if channel not in self._wished and channel in self._sent]
        self._sent.update(added)
        self._sent.difference_update(dropped)
        for channel in added:
            self._unconfirmed[channel] = self._unconfirmed.get(channel, 0) + 1
        for command, channels in ((self._subscribe, added), (self._unsubscribe, dropped)):
            for together in self._by_slot(channels):
                yield command, *together

    def _by_slot(self, channels: Iterable[str]) -> Collection[list[str]]:
        slots: defaultdict[int, list[str]] = defaultdict(list)
        for channel in channels:
            slots[self._slot(channel)].append(channel)
        return slots.values()

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                message = await connection.read_response(timeout=SILENT_AFTER_S, disconnect_on_error=False)
            except MovedError as error:  # the whole of a command was refused
                self._refused([name for name in self._unconfirmed if self._slot(name) == error.slot_id])
                continue
            if message is not None:
                self._failures = 0
                self._take(message)
            elif self._sent:
                raise TimeoutError("the pub/sub connection went silent")

    def _take(self, message: Any) -> None:
        if not isinstance(message, list) or len(message) != 3:
            return
        kind, channel, payload = message
        if kind == self._message:
            self._ears.heard(self, channel, payload)
        elif kind.endswith("unsubscribe"):
            asked_for = channel not in self._sent or channel in self._unconfirmed
            if not asked_for:  # its slot has moved
                self._refused([channel])
        elif kind.endswith("subscribe"):
            self._confirmed(channel)

    def _confirmed(self, channel: str) -> None:
        outstanding = self._unconfirmed.pop(channel, 1) - 1
        if outstanding:  # an UNSUBSCRIBE and another SUBSCRIBE are still under way: only the last one counts
            self._unconfirmed[channel] = outstanding
        elif channel in self._wished:
            self._ears.confirmed(self, channel)

    def _refused(self, channels: Collection[str]) -> None:
        for channel in channels:
            self._unconfirmed.pop(channel, None)
            self._sent.discard(channel)
            self._wished.discard(channel)
        self._ears.astray(self, channels)
