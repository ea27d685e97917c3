"""Which answer belongs to which command, over a connection whose server says what the test has it say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.crc import key_slot
from redis.exceptions import MovedError, NoPermissionError, ResponseError

from switchboard.state.pubsub_connection import PubSubConnection


class Server:
    """A connection, from the wire's side; the test reads what was sent, and answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.writable = asyncio.Event()
        self.writable.set()

    async def connect(self) -> None:
        return

    async def disconnect(self, nowait: bool) -> None:
        return

    def pack_commands(self, commands: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return list(commands)

    async def send_packed_command(self, commands: list[tuple[str, str]]) -> None:
        self.sent += commands
        await self.writable.wait()

    async def read_response(self, **_options: Any) -> Any:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def says(self, *answers: Any) -> None:
        for answer in answers:
            self.answers.put_nowait(answer)
        await settled()

    async def subscribed(self, channel: str) -> None:
        await self.says(["ssubscribe", channel, 1])

    async def unsubscribed(self, channel: str) -> None:
        await self.says(["sunsubscribe", channel, 0])


class Heard:
    """Satisfies `Ears`."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def confirmed(self, _wire: PubSubConnection, channel: str) -> None:
        self.said.append(("confirmed", channel))

    def heard(self, _wire: PubSubConnection, channel: str, payload: str) -> None:
        self.said.append((payload, channel))

    def lost(self, _wire: PubSubConnection, channels: Collection[str]) -> None:
        self.said += [("lost", channel) for channel in sorted(channels)]

    def dropped(self, _wire: PubSubConnection, channel: str, error: ResponseError | None) -> None:
        self.said.append((f"dropped: {error}" if error else "dropped", channel))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def held(wire: PubSubConnection, server: Server, channel: str) -> None:
    """Have the channel subscribed to and confirmed."""
    wire.subscribe(channel)
    await settled()
    await server.subscribed(channel)


@asynccontextmanager
async def running(connection: Callable[[], Any]) -> AsyncIterator[tuple[PubSubConnection, Heard]]:
    heard = Heard()
    wire = PubSubConnection("", connection, sharded=True, listener=heard)
    async with asyncio.TaskGroup() as tasks:
        wire.start(tasks)
        await settled()
        yield wire, heard
        wire.stop()


def moved(channel: str) -> MovedError:
    return MovedError(f"{key_slot(channel.encode())} 127.0.0.1:7001")


async def test_a_wish_renewed_while_its_end_is_being_sent_is_confirmed_by_its_own_answer_only() -> None:
    server = Server()
    async with running(lambda: server) as (wire, heard):
        wire.subscribe("c")
        await settled()
        server.writable.clear()  # the writer waits until the system takes what it sends
        wire.unsubscribe("c")
        await settled()
        wire.subscribe("c")
        await server.subscribed("c")
        assert heard.said == []
        server.writable.set()
        await settled()
        await server.unsubscribed("c")
        assert heard.said == []
        await server.subscribed("c")
        assert heard.said == [("confirmed", "c")]
    assert [command for command, _ in server.sent] == ["SSUBSCRIBE", "SUNSUBSCRIBE", "SSUBSCRIBE"]


async def test_a_channel_dropped_and_wished_for_in_the_same_moment_stays_subscribed() -> None:
    server = Server()
    async with running(lambda: server) as (wire, heard):
        await held(wire, server, "c")
        wire.unsubscribe("c")
        wire.subscribe("c")
        await settled()
        assert heard.said == [("confirmed", "c")] * 2
    assert len(server.sent) == 1


async def test_one_channel_refused_disturbs_no_other() -> None:
    server = Server()
    async with running(lambda: server) as (wire, heard):
        for channel in ("a", "b", "c"):
            wire.subscribe(channel)
            await settled()
        await server.subscribed("a")
        await server.says(NoPermissionError("no"))
        await server.subscribed("c")
        assert heard.said == [("confirmed", "a"), ("dropped: no", "b"), ("confirmed", "c")]


async def test_a_channel_that_the_server_drops_by_itself_is_forgotten_and_may_be_wished_for_again() -> None:
    server = Server()
    async with running(lambda: server) as (wire, heard):
        await held(wire, server, "c")
        await server.unsubscribed("c")
        assert wire.idle
        wire.subscribe("c")
        await settled()
        await server.says(moved("c"))
        assert heard.said == [("confirmed", "c"), ("dropped", "c"), (f"dropped: {moved('c')}", "c")]


async def test_a_late_refusal_of_an_unsubscribe_is_not_taken_for_that_of_the_next_command() -> None:
    server = Server()
    async with running(lambda: server) as (wire, heard):
        await held(wire, server, "c")
        wire.unsubscribe("c")
        await settled()
        wire.subscribe("elsewhere")
        await settled()
        # The slot of `c` has moved: the server drops it by itself, and then refuses to unsubscribe from it.
        await server.unsubscribed("c")
        await server.says(moved("c"))
        await server.subscribed("elsewhere")
        assert heard.said == [("confirmed", "c"), ("confirmed", "elsewhere")]


async def test_while_the_connection_is_down_nothing_is_confirmed() -> None:
    first, second = Server(), Server()
    servers = iter((first, second))
    async with running(lambda: next(servers)) as (wire, heard):
        await held(wire, first, "c")
        await first.says(ConnectionResetError("gone"))
        wire.unsubscribe("c")
        wire.subscribe("c")
        assert heard.said == [("confirmed", "c"), ("lost", "c")]
        async with asyncio.timeout(60):
            while not second.sent:
                await asyncio.sleep(0.01)
        await second.subscribed("c")
        assert heard.said[2:] == [("confirmed", "c")]
