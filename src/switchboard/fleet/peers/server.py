"""The serving side: runs handlers for other workers, and keeps what they said until it was seen.

An outcome is kept for a while after its call, so that a caller that missed it gets it; so is the end of a call that
never began, so that one that was cancelled or refused does not begin when its first frame arrives late.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from switchboard.errors import StateUnavailable
from switchboard.fleet.peers.channel import Handler, NotHere, Params, ServedChannel
from switchboard.fleet.peers.client import error_data, error_of, span_of
from switchboard.fleet.peers.frames import Frame
from switchboard.fleet.peers.link import GIVEN_UP, End, Link, log
from switchboard.telemetry import spans

MAX_CALLS: Final = 4_096
"""Calls of other workers that may run here at once."""

KEPT_BYTES: Final = 64 * 1024 * 1024
"""Of outcomes that are kept, all together; the oldest are forgotten first."""

KEPT_CALLS: Final = 20_000
"""Calls that have ended and are kept, likewise."""

LEFT: Final = "its worker left before it answered"


class Served(End):
    """One call of another worker's. Satisfies `ServedChannel`."""

    def __init__(self, link: Link, frame: Frame) -> None:
        super().__init__(link, frame.sender, frame.call)
        self.lost = False
        self.ended = False
        self.ended_at = 0.0
        """By the monotonic clock."""
        self.kept = 0
        """How much was unseen when it ended."""
        self.task: asyncio.Task[None] | None = None
        self._reason = LEFT
        self._questions: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask through the other worker."""
        self._asked += 1
        question = self._asked
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._questions[question] = answer
        try:
            self.outbox.put("ask", {"question": question, "method": method, "params": params})
            await self.flush()
            return await answer
        except ValueError as error:
            raise MCPError(INTERNAL_ERROR, f"The client cannot be asked through another worker: {error}") from error
        finally:
            del self._questions[question]

    async def notify(self, method: str, params: Params | None) -> None:
        """Tell through the other worker; what cannot be sent is left out."""
        await self._tell("notify", {"method": method, "params": params})

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report through the other worker."""
        await self._tell("progress", {"progress": progress, "total": total, "message": message})

    async def _tell(self, kind: str, body: dict[str, Any]) -> None:
        try:
            self.outbox.put(kind, body)
        except ValueError as error:
            log.warning("peer.frame_refused", kind=kind, to=self.peer, error=str(error))
        else:
            await self.flush()

    def hear(self, frame: Frame) -> None:
        """Take a frame of the caller's: of those in the order, only answers say something after the first."""
        self.take(frame)
        while (came := self.inbox.pop()) is not None:
            answer = self._questions.get(came.body["question"]) if came.kind == "answer" else None
            if answer is None or answer.done():
                continue
            if came.body["error"] is None:
                answer.set_result(came.body["result"] or {})
            else:
                answer.set_exception(error_of(came.body["error"]))

    def end(self, kind: str, body: dict[str, Any]) -> None:
        """Say how it ended; only the first end counts."""
        if self.ended:
            return
        try:
            self.outbox.put(kind, body)
        except ValueError as error:
            message = f"The answer cannot be handed to another worker: {error}"
            self.outbox.put("error", {"error": error_data(MCPError(INTERNAL_ERROR, message))})
        self.ended, self.ended_at, self.kept = True, time.monotonic(), self.outbox.bytes

    def cancel(self, reason: str) -> None:
        """Cancel the handler; the caller is told the reason if it still listens."""
        self._reason = reason
        if self.task is not None and not self.ended:
            self.task.cancel()

    async def run(self, handler: Handler, method: str, params: Params, *, once: bool) -> None:
        """Serve it, and say how it ended."""
        try:
            if once and (refusal := await self._undecided()) is not None:
                self.end(*refusal)
            else:
                self.end("result", {"result": await handler(params, self)})
        except MCPError as error:
            self.end("error", {"error": error_data(error)})
        except NotHere as error:
            self.end("refused", {"reason": str(error)})
        except asyncio.CancelledError:
            self.end("lost", {"reason": self._reason})
        except Exception as error:  # the boundary of another worker's call: it must hear of its end, whatever that was
            log.exception("peer.call_failed", method=method)
            self.end("error", {"error": error_data(MCPError(INTERNAL_ERROR, f"It failed: {type(error).__name__}"))})
        await self.flush()

    async def _undecided(self) -> tuple[str, dict[str, Any]] | None:
        """`None` if the call is this process's to serve; else how it ends."""
        try:
            found = await self.link.decide(self.call, self.link.life)
        except StateUnavailable:
            return "refused", {"reason": "its worker cannot reach shared state"}
        if found == self.link.life:
            return None
        if found == GIVEN_UP:
            return "refused", {"reason": "it was given up"}
        return "lost", {"reason": "its worker was started anew"}


class Service:
    """One method that a room serves."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.calls: set[Served] = set()

    async def drained(self, grace: float) -> None:
        """Let calls that have begun end; cancel them after so many seconds."""
        running = [served.task for served in self.calls if served.task is not None]
        if running:
            await asyncio.wait(running, timeout=grace)
        late = [served.task for served in self.calls if served.task is not None]
        for served in list(self.calls):
            served.cancel(LEFT)
        if late:
            await asyncio.wait(late, timeout=grace)


class Server:
    """The calls of other workers on this one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._services: dict[str, Service] = {}
        self._served: dict[str, Served] = {}
        self._ended: deque[Served] = deque()
        self._kept = 0
        """Bytes of what has ended."""

    @asynccontextmanager
    async def serving(self, method: str, handler: Handler, grace: float) -> AsyncIterator[None]:
        """Serve a method until the context ends; then finish what was begun, and take no more."""
        if method in self._services:
            raise ValueError(f"{method} is served already")
        service = self._services[method] = Service(handler)
        try:
            yield
        finally:
            del self._services[method]
            await asyncio.shield(service.drained(grace))

    def hear(self, frame: Frame, tasks: asyncio.TaskGroup) -> None:
        """Take a frame of a caller's."""
        served = self._served.get(frame.call)
        if served is None:
            self._new(frame, tasks)
        elif served.peer == frame.sender:
            served.hear(frame)
            if frame.kind == "cancel":
                served.cancel("it was cancelled")
            if frame.again and (frame.kind != "cancel" or served.ended):
                tasks.create_task(served.repeat("alive"))

    def close(self) -> None:
        """Cancel what still runs: this worker leaves."""
        for served in self._served.values():
            served.cancel(LEFT)

    def _new(self, frame: Frame, tasks: asyncio.TaskGroup) -> None:
        served = Served(self._link, frame)
        served.hear(frame)
        if frame.kind not in ("call", "cancel"):
            tasks.create_task(served.say("lost", reason="its worker does not know it any more"))
            return
        self._served[frame.call] = served
        service = self._services.get(frame.body["method"]) if frame.kind == "call" else None
        if service is not None and len(self._served) - len(self._ended) <= MAX_CALLS:
            self._begin(served, service, frame.body, tasks)
            return
        reason = "its worker does not serve it" if service is None else "its worker serves too many calls"
        served.end("refused", {"reason": "it was cancelled" if frame.kind == "cancel" else reason})
        self._note_end(served)
        tasks.create_task(served.flush())

    def _begin(self, served: Served, service: Service, body: Params, tasks: asyncio.TaskGroup) -> None:
        service.calls.add(served)

        def done(_: object) -> None:
            service.calls.discard(served)
            self._note_end(served)

        handler = _traced(service.handler, body, served.peer) if spans.on() else service.handler
        work = served.run(handler, body["method"], body["params"], once=body["once"])
        served.task = tasks.create_task(work)
        served.task.add_done_callback(done)

    def _note_end(self, served: Served) -> None:
        served.end("lost", {"reason": LEFT})  # it was cancelled before it could say anything
        self._ended.append(served)
        self._kept += served.kept
        self._forget()

    def _forget(self) -> None:
        """Of what has ended: what nobody asks for any more, and what there is no room for."""
        oldest = time.monotonic() - self._link.timing.kept
        while self._ended and (self._full() or self._ended[0].ended_at < oldest):
            served = self._ended.popleft()
            self._kept -= served.kept
            del self._served[served.call]

    def _full(self) -> bool:
        return self._kept > KEPT_BYTES or len(self._ended) > KEPT_CALLS

    async def keep_looking(self) -> None:
        """Cancel what nobody asks for any more; forget what is over."""
        timing = self._link.timing
        while True:
            await asyncio.sleep(min(timing.abandoned, timing.kept) / 4)
            self._forget()
            for served in list(self._served.values()):
                away = served.unheard() > timing.away + timing.abandoned
                if not served.ended and (self._link.silence(served.heard) > timing.abandoned or away):
                    served.lost = True
                    served.cancel("its caller was lost")


def _traced(handler: Handler, body: Params, caller: str) -> Handler:
    """A handler within a span, below the context that came with the call; as it is, if none came."""
    carrier = body.get("trace")
    parent = spans.remote(carrier) if isinstance(carrier, dict) else None
    if parent is None:
        return handler

    async def traced(params: Params, channel: ServedChannel) -> Any:
        span = spans.server(*span_of(body["method"], caller), parent)
        if span is None:
            return await handler(params, channel)
        with span:
            return await handler(params, channel)

    return traced
