"""JSON-RPC with a child: one message a line, all calls over the same two pipes.

A request is a future under its id, and has no task of its own. What is sent in one turn of the event loop goes out in
one write; a request whose caller leaves before it is written is never sent. An answer is given to its future where it
is read; each notification and each request of the child's gets a task, in the order of their receipt.

A message that is too long, or cannot be read, is refused under its id, and the child goes on; the SDK's own transport
would read a line of any length into memory, and leave whoever waits for an answer that cannot be read waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import anyio
import anyio.abc
import structlog
from mcp.shared.dispatcher import CallOptions, OnNotifyIntercept, coerce_request_id, run_notify_intercept
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params, handler_exception_to_error_data
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic_core import from_json, to_json

from switchboard.backends.envelope import Params
from switchboard.backends.errors import BAD_GATEWAY
from switchboard.backends.transports.child import Child
from switchboard.backends.transports.framing import Cut, LineSplitter, parsed
from switchboard.protocol import request_spans
from switchboard.telemetry import spans

log = structlog.get_logger("switchboard.backends")

SPOKEN_PER_TURN: Final = 16
"""Notifications and requests of a child that are taken in one turn of the event loop, so that their tasks keep up."""

WAITING: Final = 1_000
"""Notices and answers that wait for a child that does not read; further ones are dropped. Requests are bounded by their
callers, who leave in time."""

UNREAD_CODES: Final = frozenset({PARSE_ERROR, INVALID_REQUEST, BAD_GATEWAY})
"""Errors without an id that are about a request: the child could not read it, or its answer could not be read."""


Answer = dict[str, Any] | ErrorData
"""What a child answered: a result, or an error."""

OnRequest = Callable[[Any, str, Params | None], Awaitable[dict[str, Any]]]
OnNotify = Callable[[Any, str, Params | None], Awaitable[None]]
"""As the SDK's; of the context they get nothing, for pipes have nothing to tell of a message."""


class StdioDispatcher:
    """The calls over a child's pipes. Satisfies `mcp.shared.dispatcher.Dispatcher`, `on_progress` aside.

    Args:
        max_bytes: bytes of a message.
        on_unreadable: is given what was no message.
    """

    def __init__(self, child: Child, max_bytes: int, on_unreadable: Callable[[Exception], object]) -> None:
        self._child = child
        self._max_bytes = max_bytes
        self._on_unreadable = on_unreadable
        self._pending: dict[RequestId, asyncio.Future[Answer | None]] = {}
        """What waits for an answer; `None` is given when none will come."""
        self._unsent: dict[object, bytes] = {}
        """Lines for the next write, those of requests under their ids."""
        self._flushing = False
        self._splitter = LineSplitter(max_bytes)
        self._lines: deque[bytes | Cut] = deque()
        """Lines that were read, for later turns."""
        self._later = False
        self._answering: dict[RequestId, asyncio.Task[None]] = {}
        self._spawned: set[asyncio.Task[None]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._over = False
        self._ended = asyncio.Event()
        self._running: bool | None = None
        """Whether requests are taken and its output is read; `None` before that began."""
        self._closed = False
        self._ids = 0

    # -- what is sent -------------------------------------------------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Params | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its answer; a caller that leaves cancels it.

        Raises:
            MCPError: the child's error, REQUEST_TIMEOUT, or CONNECTION_CLOSED.
            ValueError: a request of that id waits already, or the parameters cannot be sent.
        """
        opts = opts or {}
        number = opts.get("request_id")
        if number is None:
            number = self._next_id()
        if not spans.on():
            return await self._request(number, method, params, opts)
        span = request_spans.sent(method, params, number)
        if span is None:
            return await self._request(number, method, request_spans.with_context(params), opts)
        with span:
            return await self._request(number, method, request_spans.with_context(params), opts)

    async def _request(
        self, number: RequestId, method: str, params: Params | None, opts: CallOptions
    ) -> dict[str, Any]:
        answer, seconds = self._send(number, method, params), opts.get("timeout")
        try:
            if seconds is None:
                outcome = await answer
            else:
                async with asyncio.timeout(seconds):
                    outcome = await answer
        except TimeoutError:
            self._withdraw(number, f"timed out after {seconds}s", opts)
            raise MCPError(REQUEST_TIMEOUT, f"Request {method!r} timed out") from None
        except asyncio.CancelledError:
            self._withdraw(number, "caller cancelled", opts)
            raise
        if outcome is None:
            raise MCPError(CONNECTION_CLOSED, "Connection closed")
        if isinstance(outcome, ErrorData):
            raise MCPError(outcome.code, outcome.message, outcome.data)
        return outcome

    async def notify(self, method: str, params: Params | None, opts: CallOptions | None = None) -> None:
        """Send a notification; after the end it is dropped."""
        if not self._closed:
            self._put(object(), _line(method=method, **({} if params is None else {"params": params})))

    def _send(self, number: RequestId, method: str, params: Params | None) -> asyncio.Future[Answer | None]:
        """Have a request sent with the next write; what comes of it."""
        if self._running is None:
            raise RuntimeError("a request was made before `run`")
        if not self._running:
            raise MCPError(CONNECTION_CLOSED, "Connection closed")
        key = coerce_request_id(number)
        if key in self._pending:
            raise ValueError(f"request id {number!r} is already in flight")
        line = _line(id=number, method=method, **({"params": params} if params else {}))
        answer = self._pending[key] = asyncio.get_running_loop().create_future()
        self._put(key, line)
        return answer

    def _withdraw(self, number: RequestId, reason: str, opts: CallOptions) -> None:
        """Nobody waits for the answer any more: tell the child, if it was asked and has not answered."""
        key = coerce_request_id(number)
        if self._pending.pop(key, None) is None or self._unsent.pop(key, None) is not None:
            return
        if opts.get("cancel_on_abandon", True):
            params = {"requestId": number, "reason": reason}
            self._put(object(), _line(method="notifications/cancelled", params=params))

    def _put(self, key: object, line: bytes) -> None:
        if self._closed:
            return
        if not self._child.writable and len(self._unsent) >= WAITING and key not in self._pending:
            return
        self._unsent[key] = line
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._unsent and self._child.writable:
            lines = b"".join(self._unsent.values())
            self._unsent.clear()
            self._child.write(lines)

    def _next_id(self) -> int:
        self._ids += 1
        while self._ids in self._pending:
            self._ids += 1
        return self._ids

    # -- what comes ---------------------------------------------------------------------------------------------------

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Read until the child's output ends, then give every request that waits its end."""
        self._on_request, self._on_notify, self._intercept = on_request, on_notify, on_notify_intercept
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._running = True
                self._child.listen(self)
                task_status.started()
                try:
                    await self._ended.wait()
                finally:
                    self._running = False
                self._close()
                for task in self._spawned:
                    task.cancel()
        finally:
            self._close()

    def _close(self) -> None:
        """Send what is left, and have nobody wait any more."""
        self._flush()
        self._closed = True
        for answer in self._pending.values():
            if not answer.done():
                answer.set_result(None)
        self._pending.clear()

    def received(self, chunk: bytes) -> None:
        """Take what the child wrote."""
        if not self._running:
            return
        self._lines.extend(self._splitter.feed(chunk))
        if not self._later:
            self._take()

    def ended(self) -> None:
        """Its output has ended; what was read before that is still taken."""
        self._over = True
        if not self._later:
            self._ended.set()

    def writable(self) -> None:
        """It reads again."""
        self._flush()

    def _take(self) -> None:
        """Take lines that were read; if it says too much by itself, the others in the next turn."""
        spoken, self._later = 0, False
        while self._lines and self._running:
            if spoken >= SPOKEN_PER_TURN:
                self._later = True
                self._child.pause_reading()
                asyncio.get_running_loop().call_soon(self._take_more)
                return
            spoken += self._take_line(self._lines.popleft())

    def _take_more(self) -> None:
        self._take()
        if self._later:
            return
        if self._over:
            self._ended.set()
        else:
            self._child.resume_reading()

    def _take_line(self, line: bytes | Cut) -> int:
        """How many notifications and requests were in it."""
        message = None
        if not isinstance(line, Cut):
            with contextlib.suppress(ValueError):
                message = from_json(line)
        if isinstance(message, dict) and _is_result(message):
            self._answered(message["id"], message["result"])
            return 0
        return sum(map(self._take_odd, parsed(line, self._max_bytes)))

    def _take_odd(self, item: JSONRPCMessage | Exception) -> bool:
        if isinstance(item, JSONRPCResponse):
            self._answered(item.id, item.result)
        elif isinstance(item, JSONRPCError):
            number = item.id
            if number is None and item.error.code in UNREAD_CODES and len(self._pending) == 1:
                (number,) = self._pending
            self._answered(number, item.error)
        elif isinstance(item, JSONRPCRequest):
            self._asked(item)
            return True
        elif isinstance(item, JSONRPCNotification):
            self._told(item.method, item.params)
            return True
        else:
            self._on_unreadable(item)
        return False

    def _answered(self, number: RequestId | None, outcome: Answer) -> None:
        answer = None if number is None else self._pending.pop(coerce_request_id(number), None)
        if answer is not None and not answer.done():
            answer.set_result(outcome)

    def _told(self, method: str, params: Params | None) -> None:
        if method == "notifications/cancelled":
            number = cancelled_request_id_from_params(params)
            if number is not None and (task := self._answering.get(coerce_request_id(number))) is not None:
                self._cancelled.add(task)
                task.cancel()
        if not run_notify_intercept(self._intercept, method, params):
            self._spawn(self._heard(method, params))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    async def _heard(self, method: str, params: Params | None) -> None:
        try:
            await self._on_notify(None, method, params)
        except Exception:  # the boundary of one notification: the others go on
            log.exception("backend.notification_failed", method=method)

    def _asked(self, request: JSONRPCRequest) -> None:
        key = coerce_request_id(request.id)
        task = self._answering[key] = self._spawn(self._answer(request))

        def done(_: object) -> None:
            self._cancelled.discard(task)
            if self._answering.get(key) is task:
                del self._answering[key]

        task.add_done_callback(done)

    async def _answer(self, request: JSONRPCRequest) -> None:
        """Answer a request of the child's, unless it cancels that."""
        outcome: dict[str, Any]
        try:
            outcome = {"result": await self._on_request(None, request.method, request.params)}
        except asyncio.CancelledError:
            if asyncio.current_task() in self._cancelled:
                return
            self._put(object(), _line(id=request.id, error={"code": CONNECTION_CLOSED, "message": "Connection closed"}))
            raise
        except Exception as error:  # the boundary of one request: the child hears why
            failure = handler_exception_to_error_data(error) or ErrorData(code=0, message=str(error))
            if failure.code == 0:
                log.exception("backend.request_failed", method=request.method)
            outcome = {"error": failure.model_dump(mode="json", by_alias=True, exclude_unset=True)}
        if asyncio.current_task() not in self._cancelled:
            self._put(object(), _line(id=request.id, **outcome))


def _is_result(message: Mapping[str, Any]) -> bool:
    """Whether it is an ordinary answer, as nearly every message is; all others are looked at closely."""
    return (
        type(message.get("id")) in (int, str)
        and type(message.get("result")) is dict
        and message.get("jsonrpc") == "2.0"
        and "method" not in message
        and "error" not in message
    )


def _line(**members: Any) -> bytes:
    """A message.

    Raises:
        ValueError: JSON cannot say it.
    """
    return to_json({"jsonrpc": "2.0", **members}, inf_nan_mode="null") + b"\n"
