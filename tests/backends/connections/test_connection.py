"""One connection: stopped while it learns why its start failed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import Implementation

from switchboard.backends import Backend, Stdio
from switchboard.backends.connections.connection import Connection
from switchboard.backends.errors import Broken


class ExitedChild:
    """A transport whose child has exited, and whose exit code is known later. Satisfies `Transport`."""

    direct = resumed = None
    resumable = replaces = False
    process = None
    stderr_tail = ("no such disk",)

    def __init__(self) -> None:
        (send, self._theirs), (self._ours, receive) = (anyio.create_memory_object_stream[Any](1) for _ in range(2))
        self.streams = (self._theirs, self._ours)
        self._ended = (send, receive)
        self.awaited, self.known = asyncio.Event(), asyncio.Event()

    async def open(self, stack: AsyncExitStack) -> Any:
        for stream in (*self._ended, *self.streams):
            stack.callback(stream.close)
        for stream in self._ended:
            stream.close()
        return self

    def dispatcher(self, on_unreadable: object) -> Any:
        return JSONRPCDispatcher(*self.streams)

    async def on_negotiated(self, result: object) -> None:
        """Take note of what was agreed: nothing."""

    def reason(self) -> str:
        return "it exited with 3: no such disk"

    async def wait_for_reason(self) -> None:
        self.awaited.set()
        await self.known.wait()


async def test_a_connection_is_stopped_while_it_learns_why_its_start_failed() -> None:
    child = ExitedChild()
    listener: Any = None
    info = Implementation(name="switchboard", version="1")
    backend = Backend("broken", Stdio("no-such", era="handshake"))
    connection = Connection(backend, child.open, listener, declared={}, owned=False, info=info)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.run())
        await child.awaited.wait()
        connection.stop()
        child.known.set()
    assert isinstance(connection.failure, Broken)
    assert str(connection.failure) == "it exited with 3: no such disk"
