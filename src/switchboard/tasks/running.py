"""One call that is, or may become, a task: what its handler asks and says, and how it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import structlog
from mcp.server.connection import Connection
from mcp.server.context import CallNext, ServerRequestContext
from mcp.server.runner import modern_error_data
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import REQUEST_TIMEOUT
from mcp_types.methods import is_input_required

from switchboard.aio import wait_for_event
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import ServedChannel
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.protocol.direct_requests import changed
from switchboard.sessions.client_requests import Ask, Terms
from switchboard.sessions.detached_context import as_json
from switchboard.sessions.patience import REDIS_AWAY_S, RETRY_S, patiently, told_to_handlers
from switchboard.state import State
from switchboard.tasks.errors import out_of_time, stopped
from switchboard.tasks.record import Record, now
from switchboard.tasks.store import GRACE_MS, Ending, Store

log = structlog.get_logger("switchboard.tasks")

METHOD: Final = "tools/call"
"""The one method whose calls become tasks."""

SAY_EVERY_S: Final = 1.0
"""How often a task's status message is stored."""

MOST_ROUNDS: Final = 16
"""How often one task may end a round with questions instead of a result."""


class Keeper(Protocol):
    """What a call needs of the tasks of its worker."""

    worker: str
    ttl_ms: int
    state: State
    store: Store

    def admit(self, owner: str) -> None:
        """Count one more task of an owner; raises when there are as many as there may be."""
        ...


class Running:
    """A call whose handler runs in a task of its own. It becomes a task in the protocol's sense when it is `kept`."""

    def __init__(
        self, keeper: Keeper, owner: str, tool: str, version: str, terms: Terms, channel: ServedChannel
    ) -> None:
        self.id = secrets.token_urlsafe(24)
        self.owner = owner
        self.terms = terms
        self.connection: Connection | None = None
        """The connection that its handler sees."""
        self.decided = asyncio.Event()
        """Set when the call has its answer: a result, or that it became a task."""
        self.record: Record | None = None
        self.result: Mapping[str, Any] | None = None
        self.error: Exception | None = None
        self.work: asyncio.Task[None] | None = None
        self.leaving = False
        """Whether this worker stops."""
        self._keeper = keeper
        self._tool = tool
        self._version = version
        self._channel = channel
        self._keeping: asyncio.Future[None] | None = None
        self._asks: dict[str, Ask] = {}
        self._minted = 0
        self._said_at = 0.0
        self._began = time.monotonic()
        self._closed = False
        self._handled = asyncio.Event()
        """Set when the handler has ended."""

    # --- becoming a task ---

    async def keep(self) -> None:
        """Store the call as a task; then its request may be answered, and the client hang up.

        Raises:
            MCPError: there is no room for it.
            StateUnavailable: it cannot be stored, and Redis has been away for long, or the handler ended meanwhile.
        """
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_future()
            try:
                await self._created()
            except Exception as error:
                self._keeping.set_exception(error)
            except asyncio.CancelledError:
                self._keeping.cancel()
                raise
            else:
                self._keeping.set_result(None)
                self.decided.set()
        await asyncio.shield(self._keeping)

    async def _created(self) -> None:
        """Store it; while Redis is away, wait for that, unless the handler ends before: then nothing is to be kept."""
        until = time.monotonic() + REDIS_AWAY_S
        self._keeper.admit(self.owner)
        while True:
            try:
                await self._create()
                return
            except StateUnavailable:
                if self._handled.is_set() or time.monotonic() >= min(until, self._keeper.state.contact.leave_at):
                    raise
            await wait_for_event(self._handled, RETRY_S)

    async def _create(self) -> None:
        at = now()
        record = Record(
            self.id, self.owner, self._keeper.worker, "working", at, at, self._keeper.ttl_ms, tool=self._tool
        )
        await self._keeper.store.create(record)
        self.record = record

    # --- the handler's side ---

    @property
    def handled(self) -> bool:
        """Whether the handler has ended; how that is stored may still be awaited."""
        return self._handled.is_set()

    @property
    def closed(self) -> bool:
        """Whether the handler has ended."""
        return self._closed

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout: float | None) -> dict[str, Any]:
        """Ask the client, which makes the call a task if it is not one yet.

        Raises:
            NoBackChannelError: a request that a task cannot carry (`ping`).
            MCPError: the client cannot answer it, or the time is over.
        """
        if method not in CLIENT_REQUESTS or self.closed:
            raise NoBackChannelError(method)
        self.terms.check(method, params or {})
        ask = Ask.make(METHOD, self._version, method, params)
        key = self._mint(method)
        with told_to_handlers():
            await self.keep()
            return await self._answered(key, ask, timeout)

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send a notification with the answer, as long as there is none: a task carries no notifications."""
        if self.decided.is_set():
            return
        if method == "notifications/message" and not self.terms.wants_log(self._version, params):
            return
        await self._channel.notify(method, params)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress with the answer; once the call is a task, the message becomes its status message."""
        if not self.decided.is_set():
            await self._channel.progress(progress, total, message)
        elif message and time.monotonic() - self._said_at >= SAY_EVERY_S:
            self._said_at = time.monotonic()
            await self._said(message)

    async def _said(self, message: str) -> None:
        """Store a status message; later while Redis is away, and not at all when that lasts."""
        store, worker = self._keeper.store, self._keeper.worker
        try:
            await patiently(self._keeper.state, lambda: store.say(self.id, message, worker=worker))
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), task=self.id[:8], lost="a status message")

    # --- the task's life ---

    async def run(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> None:
        """Run the handler to its end, whatever becomes of the request that brought it."""
        limit = asyncio.timeout(self._keeper.ttl_ms / 1000)
        try:
            try:
                async with limit:
                    self.result = await self._rounds(ctx, call_next)
            finally:
                self._handled.set()
            await self._end("completed", self.result)
        except asyncio.CancelledError:
            if self.leaving:
                await self._end("failed", stopped())
            raise
        except Exception as error:  # the boundary of the handler's task: whatever it was is how the task ends
            self.error = error
            failure = modern_error_data(error).model_dump(mode="json", exclude_none=True)
            await self._end("failed", out_of_time(self._keeper.ttl_ms) if limit.expired() else failure)
        finally:
            self._closed = True
            self.decided.set()

    async def _rounds(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> Mapping[str, Any]:
        """Call the handler. If it ends a round with questions when it is a task already, the task puts them."""
        params = dict(ctx.params or {})
        for _ in range(MOST_ROUNDS):
            result = as_json(await call_next(changed(ctx, params=params)))
            if not is_input_required(result) or self._keeping is None:
                return result
            await self.keep()
            params["inputResponses"] = await self._put(result.get("inputRequests") or {})
            params["requestState"] = result.get("requestState")
        raise RuntimeError(f"the handler asked for more than {MOST_ROUNDS} rounds")

    async def _put(self, questions: Mapping[str, Any]) -> dict[str, Any]:
        names = {self._mint(question["method"]): key for key, question in questions.items()}
        asks = {
            name: Ask.make(METHOD, self._version, questions[key]["method"], questions[key].get("params"))
            for name, key in names.items()
        }
        answers = await asyncio.gather(*(self._answered(name, ask, None) for name, ask in asks.items()))
        return dict(zip(names.values(), answers, strict=True))

    def _mint(self, method: str) -> str:
        """A key for a question: never used twice in the life of a task."""
        self._minted += 1
        return f"{method.partition('/')[0]}-{self._minted}"

    async def _answered(self, key: str, ask: Ask, timeout: float | None) -> dict[str, Any]:
        store, worker = self._keeper.store, self._keeper.worker
        self._asks[key] = ask
        try:
            await patiently(self._keeper.state, lambda: store.ask(self.id, key, ask.request, worker=worker))
            async with asyncio.timeout(timeout):
                return await ask.answer
        except TimeoutError:
            await patiently(self._keeper.state, lambda: store.withdraw(self.id, key, worker=worker))
            raise MCPError(REQUEST_TIMEOUT, f"Timed out after {timeout}s waiting for {ask.method!r}") from None
        finally:
            self._asks.pop(key, None)

    async def _end(self, status: Ending, outcome: Mapping[str, Any]) -> None:
        """Store how the task ended, if it is one; while Redis is away, try again."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        if self.record is None:
            return
        store, worker = self._keeper.store, self._keeper.worker
        left = self._began + (self._keeper.ttl_ms + GRACE_MS) / 1000 - time.monotonic()  # then it is forgotten anyway
        try:
            verdict = await patiently(
                self._keeper.state, lambda: store.end(self.id, status, outcome, worker=worker), max(left, REDIS_AWAY_S)
            )
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), task=self.id[:8], lost="how it ended")
        else:
            log.info("task.ended", task=self.id[:8], status=status, verdict=verdict)

    # --- from other workers: answers, and the end of the task ---

    async def look(self) -> None:
        """Once it is a task: hand its handler the answers, and cancel it when the task was ended elsewhere."""
        await self.decided.wait()
        changed = asyncio.Event()
        wanted = self.record is not None
        while wanted and not self._closed:
            try:
                async with self._keeper.store.changes(self.id, lambda _: changed.set()):
                    while wanted := await self._still_wanted(changed):
                        await wait_for_event(changed, self._keeper.state.timing.poll_s)
            except StateUnavailable:
                await asyncio.sleep(self._keeper.state.timing.poll_s)

    async def _still_wanted(self, changed: asyncio.Event) -> bool:
        changed.clear()
        open_now, answers = await self._keeper.store.news(self.id, list(self._asks))
        for key, answer in answers.items():
            if key in self._asks:
                self._asks[key].take(answer)
        if not open_now and not self._closed and self.work is not None:
            self.work.cancel()
        return open_now
