"""One pub/sub connection, kept up.

One reader and one writer own the socket; everybody else states a wish. The writer sends the difference between what is
wished and what was sent, a command for each channel; the server answers in the same order, so the reader knows which
command an answer, or an error, belongs to. When the connection breaks, a new one starts from the wishes.

What others publish says nothing of the way *to* the server. So a command is sent every few seconds, a PING if there is
no other; when the oldest is not answered in time, the connection is given up, whatever else comes on it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError, ResponseError

from switchboard.aio import wait_for_event

PING_EVERY_S: Final = 5.0
ANSWERED_S: Final = 8.0
"""How long the server may take to answer a command."""

RECONNECT_S: Final = (0.02, 0.1, 0.5, 1.0)

_PLAIN: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "message")
_SHARDED: Final = ("SSUBSCRIBE", "SUNSUBSCRIBE", "smessage")

READ_S: Final = 2.5
"""How often, at least, it is looked whether an answer is late."""

LATE_S: Final = 2.0
"""An answer that takes longer makes the worker say that it is degraded."""

PONG: Final = (["pong", ""], "PONG")
"""What answers a PING: while there are subscriptions, and while there are none."""

log = structlog.get_logger("switchboard.state")


class PubSubListener(Protocol):
    """Who wants to know. Every method runs on the event loop, synchronously, and must not raise."""

    def confirmed(self, connection: PubSubConnection, channel: str) -> None:
        """From here on nothing published on the channel is missed."""
        ...

    def heard(self, connection: PubSubConnection, channel: str, payload: str) -> None:
        """Somebody published."""
        ...

    def lost(self, connection: PubSubConnection, channels: Collection[str]) -> None:
        """The connection broke; it is made anew, and these will be confirmed again."""
        ...

    def dropped(self, connection: PubSubConnection, channel: str, error: ResponseError | None) -> None:
        """The server does not serve the channel, for that reason, or not any more; the connection has forgotten it."""
        ...


@dataclass(eq=False, slots=True)
class _Command:
    """What was sent and is not answered yet."""

    channel: str
    """Empty for a PING."""
    subscribes: bool
    sent: float
    """When, by the loop's clock."""


class PubSubConnection:
    """A connection to one server.

    Args:
        name: of the server, for the log.
        connection: makes one that nobody else uses.
        sharded: whether what is subscribed to are shard channels.
    """

    def __init__(self, name: str, connection: Callable[[], Any], sharded: bool, listener: PubSubListener) -> None:
        self._log = log.bind(server=name) if name else log
        self._connection = connection
        self._subscribe, self._unsubscribe, self._message = _SHARDED if sharded else _PLAIN
        self._listener = listener
        self._wished: set[str] = set()
        self._changed: set[str] = set()
        self._sent: dict[str, _Command | None] = {}
        """The channels last subscribed to: `None` once the server has confirmed it."""
        self._unanswered: deque[_Command] = deque()
        self._dirty = asyncio.Event()
        self.connected = False
        self._failures = 0
        self._leaving = False

    @property
    def idle(self) -> bool:
        """Whether nobody wishes for anything."""
        return not self._wished

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Keep the connection up until `stop`; not in the context of whichever request needed it first."""
        self._clock = asyncio.get_running_loop().time
        self._running = tasks.create_task(self._keep_connected(), context=contextvars.Context())

    @property
    def answers(self) -> bool:
        """Whether the server is connected, and has answered what was sent a while ago."""
        return self.connected and not self._late(LATE_S)

    def stop(self) -> None:
        """Close the connection."""
        self._leaving = True  # a group that fails in the same moment hides the cancellation
        self._running.cancel()

    def subscribe(self, channel: str) -> None:
        """Wish for `channel`; it is confirmed at once if it was dropped in the same moment, and nobody said so yet."""
        self._wished.add(channel)
        self._note(channel)
        if channel in self._sent and self._sent[channel] is None:
            self._listener.confirmed(self, channel)

    def unsubscribe(self, channel: str) -> None:
        """Wish for `channel` no longer."""
        self._wished.discard(channel)
        self._note(channel)

    def _note(self, channel: str) -> None:
        self._changed.add(channel)
        self._dirty.set()

    async def _keep_connected(self) -> None:
        while not self._leaving:
            connection, began = self._connection(), self._clock()
            try:
                await connection.connect()
                await self._serve(connection)
            except* (RedisError, OSError, TimeoutError) as group:
                self._failures = 1 if self._clock() - began > PING_EVERY_S else self._failures + 1
                self._log.warning("redis.pubsub_lost", error=str(group.exceptions[0]))
            finally:
                self.connected = False
                self._sent.clear()
                self._unanswered.clear()
                await connection.disconnect(nowait=True)
            if not self._leaving:
                self._listener.lost(self, list(self._wished))
                await asyncio.sleep(RECONNECT_S[min(self._failures, len(RECONNECT_S)) - 1])

    async def _serve(self, connection: Any) -> None:
        self._changed = set(self._wished)
        self._dirty.set()
        self.connected = True
        if self._failures:
            self._log.info("redis.pubsub_renewed", channels=len(self._wished))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(connection))
            tasks.create_task(self._read(connection))

    async def _write(self, connection: Any) -> None:
        commands: list[_Command] = []
        while True:
            self._dirty.clear()
            if commands := commands + self._difference():
                self._unanswered.extend(commands)
                await connection.send_packed_command(connection.pack_commands(map(self._words, commands)))
            changed = await wait_for_event(self._dirty, PING_EVERY_S)
            commands = [] if changed else [_Command("", False, self._clock())]

    def _difference(self) -> list[_Command]:
        """The commands from what was sent to what is wished for now."""
        changed, self._changed = self._changed, set()
        commands = []
        for channel in changed:
            if (channel in self._wished) is (channel in self._sent):
                continue
            commands.append(command := _Command(channel, channel in self._wished, self._clock()))
            if command.subscribes:
                self._sent[channel] = command
            else:
                del self._sent[channel]
        return commands

    def _words(self, command: _Command) -> tuple[str, ...]:
        if not command.channel:
            return ("PING",)
        return self._subscribe if command.subscribes else self._unsubscribe, command.channel

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                message = await connection.read_response(timeout=READ_S, disconnect_on_error=False)
            except ResponseError as error:
                self._refused(error)
                continue
            if isinstance(message, list) and len(message) == len(("kind", "channel", "content")):
                self._take(*message)
            elif message in PONG:
                self._answered_ping()
            if self._late(ANSWERED_S):
                raise TimeoutError(f"the pub/sub connection left a command unanswered for {ANSWERED_S:g} s")

    def _late(self, seconds: float) -> bool:
        return bool(self._unanswered) and self._clock() - self._unanswered[0].sent > seconds

    def _answered_ping(self) -> None:
        if self._unanswered and not self._unanswered[0].channel:
            self._unanswered.popleft()

    def _take(self, kind: str, channel: str, content: Any) -> None:
        if kind == self._message:
            self._listener.heard(self, channel, content)
            return
        subscribes = not kind.endswith("unsubscribe")
        if not self._is_next(channel, subscribes):
            if not subscribes:  # nobody here asked for it: its slot has moved
                self._forget(channel, None)
            return
        command = self._unanswered.popleft()
        if subscribes and self._sent.get(channel) is command:
            self._sent[channel] = None
            self._listener.confirmed(self, channel)

    def _is_next(self, channel: str, subscribes: bool) -> bool:
        """Whether that is the command to be answered next."""
        return bool(self._unanswered) and (
            self._unanswered[0].channel == channel and self._unanswered[0].subscribes is subscribes
        )

    def _refused(self, error: ResponseError) -> None:
        command = self._unanswered[0] if self._unanswered else None
        if command is None or (
            isinstance(error, MovedError)
            and (not command.channel or key_slot(command.channel.encode()) != error.slot_id)
        ):
            # Of an UNSUBSCRIBE: what the server said by itself when the slot moved was taken for its answer.
            self._log.debug("redis.pubsub_late", error=str(error))
            return
        self._unanswered.popleft()
        if self._sent.get(command.channel) is command:
            self._forget(command.channel, error)

    def _forget(self, channel: str, error: ResponseError | None) -> None:
        if channel in self._sent:
            del self._sent[channel]
            self._wished.discard(channel)
            self._listener.dropped(self, channel, error)
