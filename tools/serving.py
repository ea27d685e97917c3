"""ASGI applications served in this process: real HTTP on loopback, up and down at once.

uvicorn itself looks ten times a second whether to leave, and whether its connections have gone: two tenths of a second
for each of hundreds of servers. It also closes a connection that was idle for five seconds, as httpx2 does, and a
client that sends just then reads an error; here the client always closes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from socket import socket
from typing import Any, Final

import uvicorn

from switchboard.aio import wait_for_event

PAUSE_S: Final = 0.005
"""Between two looks at what nothing tells of."""

TICK_S: Final = 0.1
"""uvicorn's own, at which it sees to its `date` header."""

IDLE_S: Final = 3600


class Server(uvicorn.Server):
    """One server; `leave` ends it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._left = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://localhost:{self.port}"

    def leave(self) -> None:
        """Take no more connections, finish what there is, and end."""
        self.should_exit = True
        self._left.set()

    async def main_loop(self) -> None:
        """See uvicorn."""
        ticks = 0
        while not await self.on_tick(ticks):
            await wait_for_event(self._left, TICK_S)
            ticks += 1

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """See uvicorn; the order is the same."""
        for listener in self.servers:
            listener.close()
        for each in sockets or []:
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def serving(
    app: Any, on_exit: Callable[[], None] = lambda: None, port: int = 0, **config: Any
) -> AsyncIterator[Server]:
    """Serve an application on loopback: up when entered, down when left.

    Args:
        on_exit: is called before the server leaves.
        port: 0 for a free one.
        config: what else uvicorn is to be told.
    """
    given = {"log_config": None, "timeout_graceful_shutdown": 1, "timeout_keep_alive": IDLE_S, **config}
    server = Server(uvicorn.Config(app, port=port, **given))
    running = asyncio.create_task(server._serve())  # `serve` would take over the signal handlers of who runs this
    try:
        while not server.started:
            if running.done():
                raise RuntimeError("the server did not start")
            await asyncio.sleep(PAUSE_S)
        yield server
    finally:  # a test that fails must not cancel it: its sockets would be left open, to be told of in another test
        on_exit()
        server.leave()
        await running
