"""The other end of `remote`: calls of other workers for lines that this one has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal

import structlog
from mcp.shared.exceptions import MCPError

from switchboard.backends import errors
from switchboard.backends.caller import Params
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.errors import BackendFailure
from switchboard.backends.frames import SILENT_S, Frame, Outbox, error_frame, raised
from switchboard.errors import StateUnavailable
from switchboard.state import State
from switchboard.state.keys import TAKEN_MS
from switchboard.state.pubsub import parsed

KEPT_S: Final = 30.0
"""How long an outcome waits for an asker that missed it."""

AWAY_S: Final = 90.0
"""After so long a call is ended whose asker is not heard, also when it is Redis that is away."""

DRAIN_S: Final = 5.0
"""What calls in flight get when this worker leaves, or the backend is replaced."""

log = structlog.get_logger("switchboard.backends")

Hold = Callable[[ConnectionKey, Params], AbstractAsyncContextManager[Connection | None]]
"""The line of a key if this worker may have it, else `None`."""


class RemoteCaller:
    """A client connected to another worker. Satisfies `north.North`."""

    def __init__(self, call: Mapping[str, Any], send: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        self.era: Literal["handshake", "modern"] = "modern" if call["era"] == "modern" else "handshake"
        self.capabilities: Params = call["capabilities"]
        self.wants_progress: bool = call["progress"]
        self._send = send
        self._asks: list[asyncio.Future[dict[str, Any]]] = []

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask through the other worker."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asks.append(answer)
        await self._send({"kind": "ask", "ask": len(self._asks) - 1, "method": method, "params": params})
        return await answer

    async def notify(self, method: str, params: Params | None) -> None:
        """Tell through the other worker."""
        await self._send({"kind": "notify", "method": method, "params": params})

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report through the other worker."""
        await self._send({"kind": "progress", "progress": [progress, total, message]})

    def answered(self, answers: Mapping[str, Frame]) -> None:
        """Take answers; the same may come several times."""
        for number, frame in answers.items():
            if int(number) >= len(self._asks) or self._asks[int(number)].done():
                continue
            if frame["kind"] == "result":
                self._asks[int(number)].set_result(frame["result"])
            else:
                self._asks[int(number)].set_exception(raised(frame))


class _Serving:
    """One call of another worker's."""

    def __init__(self, client_channel: RemoteCaller, outbox: Outbox) -> None:
        self.client_channel = client_channel
        self.outbox = outbox
        self.task: asyncio.Task[None] | None = None
        self.heard = time.monotonic()
        self.done: float | None = None


class Holder:
    """Serves what arrives for one backend.

    Args:
        seat: where calls are sent to.
    """

    def __init__(self, state: State, seat: str, backend: str, hold: Hold) -> None:
        self._state = state
        self._channel = state.keys.line_to(seat, backend)
        self._backend = backend
        self._hold = hold
        self._serving: dict[str, _Serving] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._leaving = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen until the context ends; then finish what was begun, and take no more."""
        async with asyncio.TaskGroup() as self._tasks, self._state.hub.subscribed(self._channel, self._hear):
            sweeping = self._tasks.create_task(self._sweep())
            try:
                yield
            finally:
                self._leaving = True
                await asyncio.shield(self._drained())
                sweeping.cancel()

    async def _drained(self) -> None:
        begun = {serving.task: reply for reply, serving in self._serving.items() if serving.task is not None}
        if not begun:
            return
        _, late = await asyncio.wait(begun, timeout=DRAIN_S)
        for task in late:
            task.cancel()
            error = errors.unavailable(self._backend, "its worker left before it answered", sent=True)
            await self._said(begun[task], error_frame(error))

    def _hear(self, payload: str) -> None:
        frame = parsed(payload)
        if frame is None or self._tasks is None:
            return  # after a renewed connection the askers repeat themselves
        reply = str(frame.get("reply"))
        serving = self._serving.get(reply)
        if frame.get("kind") == "cancel":
            if serving is not None and serving.task is not None:
                serving.task.cancel()
        elif serving is not None:
            serving.heard = time.monotonic()
            serving.client_channel.answered(frame["answers"])
            unseen = serving.outbox.seen(frame["seen"]) or [{"kind": "alive"}]
            self._tasks.create_task(self._said(reply, *unseen))
        elif self._leaving or frame.get("call") is None:
            kind = "moved" if frame.get("call") is not None else "unknown"
            self._tasks.create_task(self._said(reply, {"kind": kind}))
        else:
            self._serve(reply, frame["call"])

    def _serve(self, reply: str, call: Frame) -> None:
        if self._tasks is None:
            return
        outbox = Outbox()

        async def send(frame: Mapping[str, Any]) -> None:
            await self._said(reply, *outbox.put(frame))

        serving = self._serving[reply] = _Serving(RemoteCaller(call, send), outbox)
        serving.task = self._tasks.create_task(self._answered(serving, reply, call, send))

    async def _answered(
        self, serving: _Serving, reply: str, call: Frame, send: Callable[[Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        try:
            if not await took(self._state, reply):
                return  # it was given up, and may have been sent elsewhere since
            await send({"kind": "taken"})
            await send(await self._outcome(serving.client_channel, call))
        except Exception as error:  # the boundary of another worker's call: it must hear of its end, whatever that was
            log.exception("backend.held_call_failed", backend=self._backend)
            await send(error_frame(errors.unavailable(self._backend, type(error).__name__, sent=True)))
        finally:
            serving.done = asyncio.get_running_loop().time()

    async def _outcome(self, client_channel: RemoteCaller, call: Frame) -> Frame:
        key = ConnectionKey(**call["key"])
        headers = {tuple(path): token for path, token in call["headers"]}
        try:
            async with self._hold(key, client_channel.capabilities) as line:
                if line is None:
                    return {"kind": "moved"}
                result = await line.request(call["method"], call["params"], client_channel, headers=headers)
                lost, line.lost = line.lost, False
                return {"kind": "result", "result": result, "version": line.version, "lost": lost}
        except MCPError as error:
            return error_frame(error)
        except BackendFailure as error:
            return error_frame(errors.unavailable(self._backend, str(error), sent=False))

    async def _said(self, reply: str, *said: Mapping[str, Any]) -> None:
        for frame in said:
            try:
                await self._state.hub.publish(self._state.keys.line_reply(reply), json.dumps(frame))
            except StateUnavailable as error:  # it is kept, and sent again when the asker repeats itself
                log.info("backend.unsaid", backend=self._backend, error=str(error))

    def _silent(self, serving: _Serving) -> bool:
        """Whether the asker could have been heard, and was not."""
        return self._state.contact.silence(serving.heard) > SILENT_S or time.monotonic() - serving.heard > AWAY_S

    async def _sweep(self) -> None:
        """End what nobody asks for any more; forget what is over."""
        while True:
            await asyncio.sleep(SILENT_S / 3)
            now = asyncio.get_running_loop().time()
            for reply, serving in list(self._serving.items()):
                if serving.done is not None and now - serving.done > KEPT_S:
                    del self._serving[reply]
                elif serving.done is None and self._silent(serving) and serving.task is not None:
                    serving.task.cancel()


async def took(state: State, reply: str) -> bool:
    """Decide, once and for both ends, what becomes of a call that the holder was slow to take: whoever asks first.

    Raises:
        StateUnavailable: it cannot be known now.
    """
    with state.guard():
        return bool(await state.redis.set(state.keys.line_taken(reply), "1", nx=True, px=TAKEN_MS))
