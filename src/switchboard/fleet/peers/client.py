"""The calling side: says what it wants until the other worker has it, passes on what comes, and notices its loss."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ErrorData
from pydantic import ValidationError

from switchboard.aio import first_error, wait_for_event
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers.channel import Channel, Params, PeerLost
from switchboard.fleet.peers.frames import ENDS, Frame
from switchboard.fleet.peers.link import GIVEN_UP, End, Link
from switchboard.telemetry import spans

SEEN_EVERY: Final = 256
"""After so many frames the other end hears that they were seen, and has room for more."""

LOST: Final = "the worker that served it was lost"


class Call(End):
    """One call to another worker.

    Args:
        worker: whom to call.
        channel: the client whose request the call belongs to.
        once: whether it must not begin twice.
    """

    def __init__(self, link: Link, worker: str, channel: Channel, *, once: bool) -> None:
        super().__init__(link, worker, secrets.token_hex(12))
        self.over = False
        """Whether the other side has ended it, or has nothing of it."""
        self._channel = channel
        self._once = once
        self._known = False
        """Whether the other side has it."""
        self._told = 0
        self._came = asyncio.Event()
        self._behind = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()

    def hear(self, frame: Frame) -> None:
        """Take a frame of the other side's."""
        if frame.sender != self.peer:
            return
        self.take(frame)
        if frame.kind in ENDS and (frame.number or self._known):
            self.over = True
            if not frame.number:
                self.inbox.end(frame)
        self._known = self._known or bool(frame.number) or frame.kind == "alive"
        if self.inbox.behind():
            self._behind.set()
        self._came.set()

    def renewed(self) -> None:
        """Something may have been missed."""
        self._behind.set()

    async def outcome(self, method: str, params: Params, *, listens: bool = False) -> Any:
        """See `_outcome`; within a span, if it is a part of what somebody traces."""
        span = spans.client(*span_of(method, self.peer)) if spans.on() and spans.current() is not None else None
        if span is None:
            return await self._outcome(method, params, listens=listens)
        with span:
            return await self._outcome(method, params, listens=listens)

    async def _outcome(self, method: str, params: Params, *, listens: bool) -> Any:
        """What the handler returned.

        Args:
            listens: whether to give up at once where nobody listens.

        Raises:
            MCPError: what the handler raised, or that the parameters cannot be sent.
            PeerLost: there will be no answer.
            StateUnavailable: a call that is made once could not be sent.
        """
        traced = {"trace": spans.carried()} if spans.on() else {}
        try:
            self.outbox.put("call", {"method": method, "params": params, "once": self._once, **traced})
        except ValueError as error:
            self.over = True
            raise MCPError(INTERNAL_ERROR, f"The request cannot be handed to another worker: {error}") from error
        unsent = await self.flush()
        if unsent is not None and self._once:
            raise unsent
        if listens and unsent is None and not self.reached and not await self._begun():
            raise PeerLost(self._unanswered(), begun=False)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep())
                end = await self._relayed(tasks)
                for task in (keeping, *self._asking):
                    task.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        return _given(end)

    async def withdraw(self) -> None:
        """Cancel the call: until the other side has ended it, or for as long as it takes to be lost."""
        timing = self.link.timing
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timing.silent):
                while not self.over:
                    self._came.clear()
                    await self.say("cancel", again=True)
                    await wait_for_event(self._came, timing.first)

    # -- what comes -----------------------------------------------------------------------------------------------

    async def _relayed(self, tasks: asyncio.TaskGroup) -> Frame:
        """Pass on what comes before the end, which is returned."""
        while True:
            frame = await self._next()
            body = frame.body
            if frame.kind in ENDS:
                return frame
            if frame.kind == "progress":
                await self._channel.progress(body["progress"], body["total"], body["message"])
            elif frame.kind == "notify":
                await self._channel.notify(body["method"], body["params"])
            elif frame.kind == "ask":
                task = tasks.create_task(self._ask(body))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _next(self) -> Frame:
        while (frame := self.inbox.pop()) is None:
            if self.inbox.behind():
                self._behind.set()
            self._came.clear()
            await self._came.wait()
        if self.inbox.seen - self._told >= SEEN_EVERY:
            self._told = self.inbox.seen
            await self.say("seen")
        return frame

    async def _ask(self, asked: Mapping[str, Any]) -> None:
        result: dict[str, Any] | None = None
        error: MCPError | None = None
        try:
            result = await self._channel.ask(asked["method"], asked["params"])
        except MCPError as raised:
            error = raised
        except ValueError:
            error = MCPError(INTERNAL_ERROR, "The client's answer is not valid")
        body = {"question": asked["question"], "result": result, "error": error_data(error) if error else None}
        try:
            self.outbox.put("answer", body)
        except ValueError as unsent:
            error = MCPError(INTERNAL_ERROR, f"The client's answer cannot be handed to another worker: {unsent}")
            self.outbox.put("answer", {**body, "result": None, "error": error_data(error)})
        await self.flush()

    # -- that it comes --------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Repeat what the other side has not seen, and notice when it is lost.

        Raises:
            PeerLost: it is.
        """
        timing = self.link.timing
        while True:
            await wait_for_event(self._behind, timing.again if self._known else timing.first)
            if self._behind.is_set():
                await asyncio.sleep(timing.gap)  # what is missing may be on its way
            self._behind.clear()
            await self._check()
            await self.repeat("seen", again=True)

    async def _check(self) -> None:
        timing, silent = self.link.timing, self.link.silence(self.heard)
        if silent > timing.again and await self.link.dead(self.peer):
            self.over = True
            raise PeerLost(LOST, begun=await self._begun(), dead=True)
        if self._once and not self._known and silent > timing.begin and not await self._begun():
            raise PeerLost(self._unanswered(), begun=False)
        if silent > timing.silent or self.unheard() > (timing.away if self._once else timing.silent):
            reason = LOST if self._known else self._unanswered()
            raise PeerLost(reason, begun=await self._begun())

    async def _begun(self) -> bool:
        """Whether the other side may have begun; if it has not, it will not. Unknown counts as begun."""
        if self._known or not self._once:
            return self._known or self.reached
        try:
            self._known = await self.link.decide(self.call, GIVEN_UP) != GIVEN_UP
        except StateUnavailable:
            return True
        self.over = not self._known
        return self._known

    def _unanswered(self) -> str:
        return "its worker does not answer" if self.reached else "its worker does not listen, or runs another version"


def span_of(method: str, peer: str) -> tuple[str, spans.Attributes]:
    """The name and the attributes of a span of either end: of what is called by many names, the first word."""
    return f"peer {method.partition(' ')[0]}", {"switchboard.peer": peer}


def error_data(error: MCPError) -> dict[str, Any]:
    """An error as JSON."""
    return error.error.model_dump(by_alias=True, mode="json", exclude_none=True)


def error_of(error: Mapping[str, Any]) -> MCPError:
    """The error in such JSON of another worker's."""
    try:
        return MCPError.from_error_data(ErrorData.model_validate(error))
    except ValidationError:
        return MCPError(INTERNAL_ERROR, "The other worker's error was not understood")


def _given(end: Frame) -> Any:
    if end.kind == "error":
        raise error_of(end.body["error"])
    if end.kind in ("refused", "lost"):
        raise PeerLost(end.body["reason"], begun=end.kind == "lost")
    return end.body["result"]
