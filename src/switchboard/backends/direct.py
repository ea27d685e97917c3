"""Tool calls that begin without the context of their request: the gateway serves them without the SDK's kernel.

Most calls need nothing of their request but its parameters. One whose backend asks its client something, or tells it,
goes on in the context of its request (`NeedsContext`), which is made then; what was sent to the backend stays sent. A
modern client that declared nothing, and wants neither progress nor log messages, can be asked and told nothing: what
its backend says meanwhile has nobody to go to, and the context would drop it as well.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, Literal

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, INVALID_REQUEST, LOG_LEVEL_META_KEY, ClientCapabilities
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from switchboard.backends import texts
from switchboard.backends.caller import ClientChannel, Params, RequestClient, askable
from switchboard.common import strict_json
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.protocol.direct_requests import NeedsContext, ToolCall, Work

DECLARATIONS: Final = 256
LONGEST_DECLARATION: Final = 2_048
"""How many clients' capabilities are remembered as backends get them, and the bytes of the longest of a modern one:
clients repeat theirs."""

_FAMILIES: Final = frozenset(each.family for each in CLIENT_REQUESTS.values())

_MESSAGE: Final = "notifications/message"
_PROGRESS: Final = "progressToken"

Forward = Callable[[str, Mapping[str, Any], ClientChannel], Coroutine[Any, Any, HandlerResult]]
"""Passes one request on: method, parameters, client."""


class SilentClient:
    """A modern client that declared nothing, and listens to nothing before the result. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "modern"
    wants_progress = False

    def __init__(self) -> None:
        self.capabilities: Params = {}

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Refuse, as for every client that lacks the capability."""
        capability = CLIENT_REQUESTS[method].capability(texts.question(method, params or {}))
        raise capability.missing(f"Client did not declare the {capability.name} capability that this call requires")

    async def notify(self, method: str, params: Params | None) -> None:
        """It did not ask for log messages."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """It did not ask for progress."""


class CalledClient:
    """The client of a call that was begun without a context, which is made when it is first asked or told something.

    Satisfies `ClientChannel`.

    Args:
        logs: whether log messages can go to it.
    """

    def __init__(
        self, era: Literal["handshake", "modern"], capabilities: Params, *, wants_progress: bool, logs: bool
    ) -> None:
        self.era = era
        self.capabilities = capabilities
        self.wants_progress = wants_progress
        self._logs = logs
        self._loop = asyncio.get_running_loop()
        self.stirred: asyncio.Future[None] = self._loop.create_future()
        """Done when the context is needed, or the call is over."""
        self._client: ClientChannel | None = None
        self._given: asyncio.Future[None] | None = None
        self._over = False

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask in the context."""
        client = await self._found()
        if client is None:
            raise MCPError(INVALID_REQUEST, "The call that this belonged to is over")
        return await client.ask(method, params)

    async def notify(self, method: str, params: Params | None) -> None:
        """Tell in the context; a log message, only if there is somebody who may want it."""
        if (self._logs or method != _MESSAGE) and (client := await self._found()) is not None:
            await client.notify(method, params)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report in the context."""
        if (client := await self._found()) is not None:
            await client.progress(progress, total, message)

    def give(self, ctx: ServerRequestContext[Any, Any]) -> None:
        """Have the context."""
        self._client = RequestClient(ctx)
        self._wake()

    def end(self, task: asyncio.Task[Any]) -> None:
        """The call is over: nobody is asked or told any more."""
        if not task.cancelled():
            task.exception()  # where the call was given up, nobody else looks at it
        self._over = True
        self._wake()
        self._stir()

    async def _found(self) -> ClientChannel | None:
        """The client once there is a context; none if the call ended before that."""
        if self._client is None and not self._over:
            if self._given is None:
                self._given = self._loop.create_future()
            self._stir()
            await asyncio.shield(self._given)
        return self._client

    def _stir(self) -> None:
        if not self.stirred.done():
            self.stirred.set_result(None)

    def _wake(self) -> None:
        if self._given is not None and not self._given.done():
            self._given.set_result(None)


@dataclass(frozen=True, slots=True)
class DirectCalls:
    """The tools of a backend. Satisfies `switchboard.protocol.direct_requests.DirectTool`."""

    forward: Forward
    _declared: OrderedDict[int, tuple[BaseModel, Params]] = field(default_factory=OrderedDict)
    """By the identity of what a client declared, which is kept with it."""

    def prepare(self, call: ToolCall) -> Work:
        """What passes the call on."""
        modern, meta = call.version in MODERN_PROTOCOL_VERSIONS, call.meta
        body: dict[str, Any] = {"name": call.name}
        if call.has_arguments:
            body["arguments"] = call.arguments
        level = meta.get(LOG_LEVEL_META_KEY)
        if level is not None:
            body["_meta"] = {LOG_LEVEL_META_KEY: level}
        able = self._of_envelope(meta) if modern else self._of_session(call.capabilities)
        if modern and not able and level is None and _PROGRESS not in meta:
            return partial(self.forward, "tools/call", body, SilentClient())
        era: Literal["handshake", "modern"] = "modern" if modern else "handshake"
        return partial(self._called, body, era, able, _PROGRESS in meta, not modern or level is not None)

    async def _called(
        self,
        body: Mapping[str, Any],
        era: Literal["handshake", "modern"],
        able: Params,
        wants_progress: bool,
        logs: bool,
    ) -> HandlerResult:
        client = CalledClient(era, able, wants_progress=wants_progress, logs=logs)
        # Awaited here or by `go_on`, unless `give_up` ends it; no group outlives a request here.
        task = asyncio.get_running_loop().create_task(self.forward("tools/call", body, client))
        task.add_done_callback(client.end)
        try:
            await client.stirred
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.done():
            return task.result()

        async def go_on(ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
            client.give(ctx)
            return await task

        raise NeedsContext(go_on, task.cancel)

    @staticmethod
    def _of_envelope(meta: Mapping[str, Any]) -> Params:
        declared = meta.get(CLIENT_CAPABILITIES_META_KEY)
        if not isinstance(declared, dict) or _FAMILIES.isdisjoint(declared):
            return {}
        text = strict_json.written(declared)
        return _askable_of(text) if len(text) <= LONGEST_DECLARATION else _askable_of.__wrapped__(text)

    def _of_session(self, declared: ClientCapabilities | None) -> Params:
        if declared is None:
            return {}
        kept = self._declared.get(id(declared))
        if kept is None or kept[0] is not declared:
            kept = self._declared[id(declared)] = declared, askable(declared, tells=True)
            if len(self._declared) > DECLARATIONS:
                self._declared.popitem(last=False)
        return kept[1]


@lru_cache(maxsize=DECLARATIONS)
def _askable_of(declared: bytes) -> Params:
    """The part of a modern client's capabilities, given as JSON, that lets a server ask."""
    return askable(ClientCapabilities.model_validate_json(declared, by_name=False))
