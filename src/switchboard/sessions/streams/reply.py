"""The reply to one POST: plain JSON when it is one response soon; else a stored stream.

A reply starts uncommitted and costs Redis nothing. `commit` turns it into a stream: the opening entry is stored, the
lease taken, and answers and cancellations are listened for. From then on every frame is stored before it is sent, under
the reply's epoch, so that any worker can replay it and no worker can end it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio
import structlog
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, RequestId

from switchboard.aio import wait_for_event
from switchboard.errors import SessionGone, StateUnavailable
from switchboard.sessions.client_requests import answered, withdrawn
from switchboard.sessions.patience import patiently
from switchboard.sessions.records import Record
from switchboard.sessions.streams.frames import KEEPALIVE, NO_MESSAGE, Frame, encode, event, opening
from switchboard.sessions.streams.stored_stream import KEEPALIVE_S, START
from switchboard.state import Scripts, State, Written
from switchboard.state.keys import COMMIT_GRACE_MS, MAX_FRAMES

log = structlog.get_logger("switchboard.sessions")

WITHDRAW_S: Final = 2.0
"""How long a handler that no longer waits for its client may be held up by telling the client so."""


class Reply:
    """What goes back for one POST with one or more requests (more than one only in a 2025-03-26 batch)."""

    def __init__(
        self,
        state: State,
        record: Record,
        worker: str,
        ttl_ms: int,
        requests: list[RequestId],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.record = record
        self.name = secrets.token_urlsafe(9)
        self.outcomes: list[dict[str, Any]] = []
        """The responses so far, with which the POST is answered if the reply never becomes a stream."""
        self.settled = asyncio.Event()
        """Set once the reply is complete, or must become a stream."""
        self.committed = False
        self.on_cancelled: Callable[[RequestId], None] = lambda _request: None
        self.on_lost: Callable[[], None] = lambda: None
        self._state = state
        self._keys = state.keys
        self._epoch = f"{worker}:{secrets.token_hex(6)}"
        self._worker = worker
        self._ttl_ms = ttl_ms
        self._pending = set(requests)
        self._requests = requests
        self._lock = asyncio.Lock()
        self._open = AsyncExitStack()
        self._entry = START
        self._outbox: deque[Frame] = deque()
        self._waiting = 0
        """Characters in the outbox."""
        self._wake = asyncio.Event()
        self._attached = True
        self._mail = asyncio.Event()
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._tasks = tasks
        self._watching: asyncio.Task[None] | None = None
        self._stored = 0
        self._over = False

    @property
    def complete(self) -> bool:
        """Whether every request has its response."""
        return not self._pending

    # -- writing -----------------------------------------------------------------------------------------------

    async def emit(self, message: dict[str, Any]) -> None:
        """Send a message that is not a response; the reply becomes a stream.

        Raises:
            SessionGone: the session ended, or this worker lost the reply to another.
        """
        await self.commit()
        async with self._lock:
            await self._store(encode(message), final=False)

    async def finish(self, request: RequestId, outcome: dict[str, Any] | None) -> None:
        """Record the response to one of the requests, or that it gets none; the last one ends the reply."""
        async with self._lock:
            self._pending.discard(request)
            if self.committed:
                await self._store(encode(outcome) if outcome is not None else NO_MESSAGE, final=self.complete)
            elif outcome is not None:
                self.outcomes.append(outcome)
            if self.complete:
                self._over = self.committed
                self.settled.set()
                self._wake.set()

    async def commit(self) -> None:
        """Turn the reply into a stream; does nothing when it is one, or is already complete."""
        async with self._lock:
            if self.committed or self.complete:
                return
            await self._persist(self._follow_mail)
            written = await self._persist(self._begin)
            self._entry = written.id
            self.committed = True
            self._watching = self._tasks.create_task(self._watch())
            for outcome in self.outcomes:
                await self._store(encode(outcome), final=False)
            self.settled.set()

    async def _follow_mail(self) -> Written:
        channel = self._keys.to_server(self.record.sid)
        await self._open.enter_async_context(self._state.pubsub.subscribed(channel, self._on_mail))
        return Written("ok")

    async def _begin(self) -> Written:
        return Scripts.written(
            await self._state.scripts.open(
                keys=self._session_keys(), args=[self._epoch, self._state.timing.lease_ms, json.dumps(self._requests)]
            )
        )

    async def _persist(self, write: Callable[[], Awaitable[Written]]) -> Written:
        """Write, and again while Redis is away: a running request outlives a restart of Redis.

        Raises:
            SessionGone: the session ended, or this worker lost the reply to another.
            StateUnavailable: Redis stayed away for REDIS_AWAY_S.
        """
        try:
            written = await patiently(self._state, write)
        except StateUnavailable:
            self._lose()
            raise
        if written.verdict != "ok":
            self._lose()
            raise SessionGone(self.record.sid)
        return written

    async def _store(self, data: str, *, final: bool) -> None:
        self._stored += 1
        number, owed = self._stored, json.dumps(sorted(self._pending, key=str))

        async def emit() -> Written:
            ending = "1" if final else "0"
            args: list[str | int] = [
                self._epoch,
                self._state.timing.lease_ms,
                self._channel(),
                MAX_FRAMES,
                data,
                ending,
                number,
                owed,
            ]
            return Scripts.written(await self._state.scripts.emit(keys=self._session_keys(), args=args))

        written = await self._persist(emit)
        if final:
            await self._state.replicas.hold(self._record_key())
        if self._attached:
            self._push(Frame(written.id, data, final))

    def _push(self, frame: Frame) -> None:
        self._waiting += len(frame.data)
        if len(self._outbox) >= MAX_FRAMES or (self._outbox and self._waiting > self._state.scripts.stream_bytes):
            log.info("stream.slow_reader", session=self.record.sid[:8], frames=len(self._outbox))
            self.detach()  # a reader this slow reads the rest from the stored copy
            return
        self._outbox.append(frame)
        self._wake.set()

    def _lose(self) -> None:
        self._over = True
        self._wake.set()
        self.settled.set()
        self.on_lost()

    # -- asking the client ---------------------------------------------------------------------------------------

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout: float | None) -> dict[str, Any]:
        """Send a request to the client and wait for its answer, which any worker may receive.

        Raises:
            MCPError: the client answered with an error, or not in time (`timeout` in seconds).
            SessionGone: the session ended meanwhile.
        """
        await self.commit()
        request = f"{self._worker}-{secrets.token_hex(8)}"
        slot = self._keys.inbox(self.record.sid, request)

        async def place() -> Written:
            return Scripts.written(
                await self._state.scripts.place(keys=[self._record_key(), slot], args=[self._ttl_ms, ""])
            )

        await self._persist(place)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[request] = answer
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": request, "method": method}
        if params is not None:
            message["params"] = dict(params)
        try:
            await self.emit(message)
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError as error:
            raise MCPError(INTERNAL_ERROR, f"The client did not answer {method} within {timeout:g} s") from error
        finally:
            del self._asked[request]
            if not answer.done() or answer.cancelled():
                with anyio.move_on_after(WITHDRAW_S, shield=True):
                    await self._withdraw(request)

    async def _withdraw(self, request: str) -> None:
        """Tell the client that its answer is not waited for any more."""
        try:
            with self._state.guard():
                await self._state.redis.delete(self._keys.inbox(self.record.sid, request))
            if not self._over:
                await self.emit(withdrawn(request))
        except (SessionGone, StateUnavailable) as error:
            log.debug("session.withdraw_failed", error=str(error))

    # -- from other workers: answers, cancellations, the end of the session ----------------------------------------

    def _on_mail(self, _payload: str) -> None:
        self._mail.set()

    async def _watch(self) -> None:
        """Look for answers and cancellations, and renew the lease, from the commit until the reply is closed."""
        pause, renews = min(self._state.timing.poll_s, self._ttl_ms / 3000), False  # it was taken just now
        while not self._over:
            try:
                await self._look(renews=renews)
                renews = True
            except StateUnavailable as error:
                log.warning(error.event, error=str(error))
            await wait_for_event(self._mail, pause)

    async def _look(self, *, renews: bool) -> None:
        self._mail.clear()
        asked = list(self._asked)
        pending = {digest(request): request for request in self._pending}
        sid = self.record.sid
        with self._state.guard():
            if renews and (await self._renewed()).verdict != "ok":
                if not self.complete:
                    self._lose()
                return
            slots = [self._keys.inbox(sid, request) for request in asked]
            values: Any = await self._state.redis.mget(slots) if slots else []
            cancelled: Any = await self._cancelled(list(pending))
            await self._keep(slots)
        for request, answer in zip(asked, values, strict=True):
            self._settle(request, answer)
        for named in cancelled:
            self.on_cancelled(pending[named])

    async def _renewed(self) -> Written:
        """Keep the lease, and what is stored of the reply as long as its session."""
        sid, keys = self.record.sid, self._keys
        return Scripts.written(
            await self._state.scripts.renew(
                keys=[self._record_key(), keys.exchange(sid, self.name), keys.events(sid, self.name)],
                args=[self._epoch, self._state.timing.lease_ms, self._ttl_ms],
            )
        )

    async def _cancelled(self, digests: list[str]) -> Any:
        """Those of the pending requests that the client cancelled on another worker."""
        if not digests:
            return ()
        sid = self.record.sid
        return await self._state.scripts.cancelled(
            keys=[self._record_key(), self._keys.cancel(sid)], args=[COMMIT_GRACE_MS, *digests]
        )

    async def _keep(self, slots: list[str]) -> None:
        """Keep the slots of answers that are waited for."""
        async with self._state.redis.pipeline(transaction=False) as pipe:
            for slot in slots:
                pipe.pexpire(slot, self._ttl_ms)
            await pipe.execute()

    def _settle(self, request: str, answer: str | None) -> None:
        waiting = self._asked.get(request)
        if not answer or waiting is None or waiting.done():
            return
        try:
            waiting.set_result(answered(answer))
        except MCPError as error:
            waiting.set_exception(error)

    # -- reading -------------------------------------------------------------------------------------------------

    def detach(self) -> None:
        """End the local reader; the reply goes on, and can be resumed from the stored copy."""
        self._attached = False
        self._outbox.clear()
        self._waiting = 0
        self._wake.set()

    async def events(self) -> AsyncGenerator[bytes]:
        """The stream as server-sent events, up to the last response or until detached."""
        yield opening(self.name, self._entry, self.record.protocol_version)
        while True:
            while self._outbox:
                frame = self._outbox.popleft()
                self._waiting -= len(frame.data)
                if frame.data != NO_MESSAGE:
                    yield event(self.name, frame)
                if frame.final:
                    return
            if self._over or not self._attached:
                return
            self._wake.clear()
            if not await wait_for_event(self._wake, KEEPALIVE_S):
                yield KEEPALIVE

    async def close(self) -> None:
        """Stop looking for answers and cancellations."""
        if self._watching is not None:
            self._watching.cancel()
        await self._open.aclose()

    def _channel(self) -> str:
        return self._keys.to_client(self.record.sid, self.name)

    def _record_key(self) -> str:
        return self._keys.session(self.record.sid)

    def _session_keys(self) -> list[str]:
        sid = self.record.sid
        return [self._keys.session(sid), self._keys.events(sid, self.name), self._keys.exchange(sid, self.name)]


def digest(request: RequestId) -> str:
    """How Redis knows a request: its id is the client's to choose, and may be anything."""
    return hashlib.sha256(json.dumps(coerce_request_id(request)).encode()).hexdigest()[:32]
