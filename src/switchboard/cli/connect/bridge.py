"""Messages from the client to the server and back, as they are; a session that the server lost is made anew.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management: whoever gets 404 for its
session starts a new one. A client on stdio cannot know, so it is done for it, and it is told.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import (
    HEADER_MISMATCH,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from switchboard.backends.errors import BACKEND_UNAVAILABLE
from switchboard.cli.connect.header_mirroring import Stamps, said_version
from switchboard.cli.connect.stdio import Client
from switchboard.cli.connect.web import SESSION_LOST
from switchboard.protocol.changes import LIST_CHANGES

SETTLE_S: Final = 0.3
"""Requests that were sent together are told together that their session is gone."""

LIST_PAGES: Final = 50
KEPT: Final = frozenset({"logging/setLevel", "resources/subscribe"})
"""What a session remembers, and a new one is told again."""

Connect = Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]]
"""Opens the SDK's transport to the server: streams to read from and to write to."""


@dataclass
class _Session:
    """What the handshake agreed on, and what the session was told since."""

    hello: JSONRPCRequest | None = None
    ready: bool = False
    abilities: dict[str, Any] = field(default_factory=dict)
    kept: dict[tuple[str, str], JSONRPCRequest] = field(default_factory=dict)

    def note(self, message: JSONRPCMessage) -> None:
        """Remember what the client says about its session."""
        if isinstance(message, JSONRPCNotification):
            self.ready = self.ready or message.method == "notifications/initialized"
        elif isinstance(message, JSONRPCRequest) and said_version(message) is None:
            of = str((message.params or {}).get("uri", ""))
            if message.method == "initialize":
                self.hello, self.ready, self.kept = message, False, {}
            elif message.method in KEPT:
                self.kept[message.method, of] = message
            elif message.method == "resources/unsubscribe":
                self.kept.pop(("resources/subscribe", of), None)


class Bridge:
    """Between one client and one server.

    Args:
        say: tells the person at the terminal.
    """

    def __init__(self, client: Client, connect: Connect, say: Callable[[str], None]) -> None:
        self._client = client
        self._connect = connect
        self._say = say
        self._stamps = Stamps()
        self._session = _Session()
        self._pending: dict[RequestId, JSONRPCRequest] = {}
        self._again: list[JSONRPCRequest] = []
        self._own: dict[RequestId, anyio.Event] = {}
        self._answers: dict[RequestId, JSONRPCResponse | JSONRPCError] = {}
        self._ids = itertools.count(1)
        self._relisted: set[RequestId] = set()
        self._lost = anyio.Event()
        self._open = anyio.Event()
        self._serving = anyio.CancelScope()
        self._ended = False
        self._write: Any = None
        self._tasks: Any = None

    def lose(self) -> None:
        """The server does not know the session."""
        self._lost.set()

    def end(self) -> None:
        """Leave, and tell the server so."""
        self._ended = True
        self._serving.cancel()

    async def run(self) -> None:
        """Until the client's input ends, or nobody reads what it is told."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._up)
            while not self._ended:
                async with self._connected():
                    with anyio.CancelScope() as self._serving:
                        await self._serve()
                self._open = anyio.Event()
                await self._abandon()
            tasks.cancel_scope.cancel()

    async def _serve(self) -> None:
        if self._ended:
            return
        if self._session.hello is not None:
            await self._renew(self._session.hello)
        self._open.set()
        await self._lost.wait()
        await anyio.sleep(SETTLE_S)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        self._lost = anyio.Event()
        async with self._connect() as (read, self._write), anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._down, read)
            yield
            self._tasks.cancel_scope.cancel()

    # -- up -----------------------------------------------------------------------------------------------------------

    async def _up(self) -> None:
        async for item in self._client.incoming:
            if isinstance(item, Exception):
                error = ErrorData(code=PARSE_ERROR, message="Parse error: this line is no JSON-RPC message")
                await self._client.tell(JSONRPCError(jsonrpc="2.0", id=None, error=error))
                continue
            await self._open.wait()
            self._session.note(item.message)
            if isinstance(item.message, JSONRPCRequest):
                self._pending[item.message.id] = item.message
            await self._send(item.message)
        self.end()

    async def _send(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest) and message.method == "initialize":
            self._stamps.agreed = ""
        try:
            await self._write.send(self._stamps.stamped(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            if isinstance(message, JSONRPCRequest):
                self._again.append(message)

    # -- down ---------------------------------------------------------------------------------------------------------

    async def _down(self, read: Any) -> None:
        async for item in read:
            if isinstance(item, SessionMessage):
                try:
                    await self._hear(item.message)
                except BrokenPipeError:
                    self.end()

    async def _hear(self, message: JSONRPCMessage) -> None:
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            await self._client.tell(message)
            return
        if message.id in self._own:
            self._answers[message.id] = message
            self._own.pop(message.id).set()
            return
        asked = self._pending.get(message.id)
        if isinstance(message, JSONRPCError) and asked is not None:
            if message.error.code == SESSION_LOST:
                self._again.append(asked)
                self.lose()
                return
            if message.error.code == HEADER_MISMATCH and self._mirrors(asked):
                self._tasks.start_soon(self._relist, asked, message)
                return
        await self._give(message)

    async def _give(self, message: JSONRPCResponse | JSONRPCError) -> None:
        """Hand an answer to the client."""
        asked = None if message.id is None else self._pending.pop(message.id, None)
        if message.id is not None:
            self._relisted.discard(message.id)
        if asked is not None and isinstance(message, JSONRPCResponse):
            self._learn(asked, message.result)
        await self._client.tell(message)

    def _learn(self, asked: JSONRPCRequest, result: dict[str, Any]) -> None:
        if asked.method == "initialize":
            self._stamps.agreed = str(result.get("protocolVersion", ""))
            self._session.abilities = result.get("capabilities") or {}
        elif asked.method == "tools/list":
            self._stamps.learn(result)

    # -- requests of its own ------------------------------------------------------------------------------------------

    async def _ask(self, method: str, params: dict[str, Any] | None) -> JSONRPCResponse | JSONRPCError:
        own = f"switchboard-connect-{next(self._ids)}"
        self._own[own] = answered = anyio.Event()
        await self._send(JSONRPCRequest(jsonrpc="2.0", id=own, method=method, params=params))
        await answered.wait()
        return self._answers.pop(own)

    def _mirrors(self, asked: JSONRPCRequest) -> bool:
        """Whether a call was refused that may be right once the tool's definition is known."""
        return asked.method == "tools/call" and asked.id not in self._relisted

    async def _relist(self, asked: JSONRPCRequest, refused: JSONRPCError) -> None:
        """Look up which arguments are mirrored into headers, and call again."""
        self._relisted.add(asked.id)
        meta = {key: value for key, value in ((asked.params or {}).get("_meta") or {}).items() if "rogress" not in key}
        params: dict[str, Any] = {"_meta": meta}
        for _ in range(LIST_PAGES):
            listed = await self._ask("tools/list", params)
            if isinstance(listed, JSONRPCError):
                await self._give(refused)
                return
            self._stamps.learn(listed.result)
            if not (cursor := listed.result.get("nextCursor")):
                break
            params = {**params, "cursor": cursor}
        await self._send(asked)

    # -- a session made anew ------------------------------------------------------------------------------------------

    async def _renew(self, hello: JSONRPCRequest) -> None:
        made = await self._ask("initialize", hello.params)
        if isinstance(made, JSONRPCError):
            for asked in self._taken():
                await self._give(JSONRPCError(jsonrpc="2.0", id=asked.id, error=made.error))
            return
        self._learn(hello, made.result)
        if self._session.ready:
            await self._send(JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized"))
            for kept in list(self._session.kept.values()):
                await self._ask(kept.method, kept.params)
            await self._tell_of_loss()
        for asked in self._taken():
            await self._send(asked)

    def _taken(self) -> list[JSONRPCRequest]:
        taken, self._again = self._again, []
        return taken

    async def _abandon(self) -> None:
        """Answer what was in flight when the session went: it may have been done, so it is not sent again."""
        if self._ended:
            return
        again = {asked.id for asked in self._again}
        words = "the server lost the session while this ran; it may have been done"
        for asked in [one for one in self._pending.values() if one.id not in again]:
            error = ErrorData(code=BACKEND_UNAVAILABLE, message=words, data={"maybeDone": True})
            await self._give(JSONRPCError(jsonrpc="2.0", id=asked.id, error=error))

    async def _tell_of_loss(self) -> None:
        words = "The server lost the session; a new one was made. What it remembered is gone."
        self._say(words)
        if "logging" in self._session.abilities:
            params = {"level": "warning", "logger": "switchboard", "data": words}
            await self._client.tell(JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params=params))
        for kind, change in LIST_CHANGES.items():
            if (self._session.abilities.get(kind) or {}).get("listChanged"):
                await self._client.tell(JSONRPCNotification(jsonrpc="2.0", method=change.method))
