"""A pub/sub connection whose way to the server is dead, while what others publish still comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from switchboard.state import open_state, pubsub_connection


class Relay:
    """Passes bytes between clients and a server; what clients say can be swallowed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.deaf = False
        self.connections = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as self._tasks:
            server = await asyncio.start_server(self._met, "127.0.0.1", 0)
            self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
            self._passing: list[asyncio.Task[None]] = []
            try:
                yield
            finally:
                server.close()
                for task in self._passing:
                    task.cancel()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self.connections += 1
        self._passing += [
            self._tasks.create_task(self._passed(reader, back, self.connections)),
            self._tasks.create_task(self._passed(there, writer, 0)),
        ]

    async def _passed(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int) -> None:
        try:
            while data := await source.read(65536):
                if not (self.deaf and 0 < number <= self.deafened):
                    sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()

    def deafen(self) -> None:
        """From now on nothing that is said on the connections there are reaches the server."""
        self.deaf, self.deafened = True, self.connections


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("PING_EVERY_S", 0.1), ("ANSWERED_S", 0.6), ("READ_S", 0.1), ("LATE_S", 0.3)):
        monkeypatch.setattr(pubsub_connection, name, seconds, raising=False)


async def test_a_way_to_the_server_that_is_dead_is_noticed_while_notices_flow(quick: None, redis_url: str) -> None:
    relay, heard = Relay(urlsplit(redis_url).port or 0), list[str]()
    async with (
        open_state(redis_url) as other,
        relay.running(),
        open_state(relay.url) as state,
        state.pubsub.subscribed("c", heard.append),
        asyncio.timeout(60),
    ):
        flowing = asyncio.create_task(_flow(other.pubsub.publish))
        while not heard or not state.pubsub.connected:
            await asyncio.sleep(0.01)
        relay.deafen()
        while state.pubsub.connected:
            await asyncio.sleep(0.01)
        while "" not in heard:  # a new connection, on which it may have missed something
            await asyncio.sleep(0.01)
        async with state.pubsub.subscribed("another", lambda _payload: None):
            assert state.pubsub.connected
        flowing.cancel()


async def test_a_subscription_that_is_not_confirmed_condemns_the_connection(quick: None, redis_url: str) -> None:
    relay = Relay(urlsplit(redis_url).port or 0)
    async with (
        relay.running(),
        open_state(relay.url) as state,
        asyncio.timeout(60),
        state.pubsub.subscribed("c", lambda _payload: None),
    ):
        relay.deafen()
        async with state.pubsub.subscribed("another", lambda _payload: None):
            assert relay.connections > relay.deafened


async def test_a_connection_on_which_nobody_publishes_is_kept(quick: None, state_url: str | None) -> None:
    heard = list[str]()
    async with open_state(state_url) as state, state.pubsub.subscribed("c", heard.append):
        await asyncio.sleep(3 * pubsub_connection.ANSWERED_S)
        assert heard == []
        assert state.pubsub.connected


async def _flow(publish: object) -> None:
    while True:
        await publish("c", "notice")  # type: ignore[operator]
        await asyncio.sleep(0.02)
