"""The plugin's server, reached by the SDK's own client in memory, and by frames written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import ServerEvent
from mcp_types import CallToolResult, LoggingLevel, TextContent
from mcp_types.jsonrpc import jsonrpc_message_adapter

from switchboard.everything import plugin
from switchboard.plugins import OpenStream

Connect = Callable[..., Client]
Frame = dict[str, Any]


@pytest.fixture
def server() -> MCPServer[Any]:
    """The plugin's server, as no worker runs it yet."""
    made = plugin({}).server
    assert isinstance(made, MCPServer)
    return made


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both eras: `legacy` shakes hands, `auto` finds the modern one."""
    return str(request.param)


@pytest.fixture
def connect(server: MCPServer[Any], mode: str) -> Connect:
    """`connect(**callbacks)`: a client of the era under test."""

    def connecting(**options: Any) -> Client:
        return Client(server, mode=mode, **options)

    return connecting


@pytest.fixture
def words() -> Callable[[CallToolResult], str]:
    """The texts of a result, joined."""

    def joined(result: CallToolResult) -> str:
        return "\n".join(block.text for block in result.content if isinstance(block, TextContent))

    return joined


@dataclass
class RawClient:
    """A handshake client that says exactly what a test tells it to say."""

    read: Any
    write: Any

    async def send(self, **frame: Any) -> None:
        """Send one frame."""
        message = jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **frame})
        await self.write.send(SessionMessage(message))

    async def receive(self) -> Frame:
        """The next frame from the server."""
        with anyio.fail_after(10):
            received = await self.read.receive()
        frame: Frame = received.message.model_dump(by_alias=True, mode="json", exclude_none=True)
        return frame

    async def request(self, method: str, params: Mapping[str, Any]) -> Frame:
        """Send a request and return the next frame, be it the answer or a question in return."""
        await self.send(id=1, method=method, params=dict(params))
        return await self.receive()


OpenRaw = Callable[[str, Mapping[str, Any]], AbstractAsyncContextManager[RawClient]]


@pytest.fixture
def handshake(server: MCPServer[Any]) -> OpenRaw:
    """`handshake(protocol version, client capabilities)`: a session with just these."""
    # The public `run` of an MCPServer opens a transport of its own; the server beneath takes streams.
    lowlevel = server._lowlevel_server

    @asynccontextmanager
    async def opening(version: str, capabilities: Mapping[str, Any]) -> AsyncIterator[RawClient]:
        async with (
            create_client_server_memory_streams() as (near, far),
            anyio.create_task_group() as group,
        ):
            group.start_soon(lowlevel.run, far[0], far[1], lowlevel.create_initialization_options())
            client = RawClient(*near)
            hello = {
                "protocolVersion": version,
                "capabilities": dict(capabilities),
                "clientInfo": {"name": "raw", "version": "1"},
            }
            answer = await client.request("initialize", hello)
            assert answer["result"]["protocolVersion"] == version
            await client.send(method="notifications/initialized")
            yield client
            group.cancel_scope.cancel()

    return opening


@dataclass(eq=False)
class HeardStream:
    """A stream that remembers what it was told; one that hangs waits for its gate."""

    era: Literal["handshake", "modern"] = "handshake"
    log_level: LoggingLevel | None = "debug"
    subscriptions: frozenset[str] = frozenset()
    gate: anyio.Event | None = None
    failure: Exception | None = None
    heard: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    attempts: int = 0
    left: anyio.Event = field(default_factory=anyio.Event)
    told: anyio.Event = field(default_factory=anyio.Event)

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self.attempts += 1
        try:
            if self.failure:
                raise self.failure
            if self.gate:
                await self.gate.wait()
            self.heard.append((method, params))
            self.told.set()
        finally:
            self.left.set()


@dataclass
class SmallHost:
    """A worker with these streams open."""

    open: list[HeardStream] = field(default_factory=list)
    worker: str = "worker-7"
    state: str = "redis"

    def streams(self) -> Iterable[OpenStream]:
        return tuple(self.open)

    async def publish(self, event: ServerEvent) -> None:
        raise NotImplementedError(f"the everything plugin publishes nothing, but was asked to send {event}")


@pytest.fixture
def stream() -> Callable[..., HeardStream]:
    """`stream(era=…, log_level=…, subscriptions=…, gate=…, failure=…)`: an open stream."""
    return HeardStream


@pytest.fixture
def host() -> SmallHost:
    """A host without streams: append to `open`."""
    return SmallHost()
