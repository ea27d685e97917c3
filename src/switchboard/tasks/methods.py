"""`tasks/get`, `tasks/update` and `tasks/cancel`: what clients ask of a task, through whichever worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp_types import RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from switchboard.identity import current
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.tasks.errors import malformed_answer, misrouted, not_in_this_version, undeclared, unknown
from switchboard.tasks.record import EXTENSION, Record
from switchboard.tasks.store import Store

Context = ServerRequestContext[Any, Any]
Row = tuple[str, type[BaseModel], Callable[[Context, Any], Awaitable[HandlerResult]]]


class TaskParams(RequestParams):
    """Which task."""

    task_id: str


class UpdateParams(TaskParams):
    """Which task, and answers to its questions."""

    input_responses: dict[str, Any]


def rows(store: Store) -> Iterable[Row]:
    """The methods, the types of their parameters, and what serves them."""

    async def get(ctx: Context, params: TaskParams) -> HandlerResult:
        return (await _found(store, ctx, params)).detailed()

    async def update(ctx: Context, params: UpdateParams) -> HandlerResult:
        record = await _found(store, ctx, params)
        answers = {key: answer for key, answer in params.input_responses.items() if key in record.asks}
        for key, answer in answers.items():
            _check(key, record.asks[key], answer)
        if answers:
            await store.answer(record.id, answers)
        return {}

    async def cancel(ctx: Context, params: TaskParams) -> HandlerResult:
        record = await _found(store, ctx, params)
        if not record.ended:
            await store.end(record.id, "cancelled")
        return {}

    yield "tasks/get", TaskParams, get
    yield "tasks/update", UpdateParams, update
    yield "tasks/cancel", TaskParams, cancel


def declares(ctx: Context) -> bool:
    """Whether the client said with this request that it knows tasks."""
    declared = ctx.session.client_capabilities
    return declared is not None and EXTENSION in (declared.extensions or {})


async def _found(store: Store, ctx: Context, params: TaskParams) -> Record:
    """The task that the request is about, after everything that may be wrong with the request."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise not_in_this_version(ctx.method)
    if not declares(ctx):
        raise undeclared()
    headers = getattr(ctx.request, "headers", None)
    if headers is not None and headers.get("mcp-name", "").strip() != params.task_id:
        raise misrouted()
    record = await store.find(params.task_id, current().principal.owner)
    if record is None:
        raise unknown()
    return record


def _check(key: str, question: Mapping[str, Any], answer: Any) -> None:
    try:
        CLIENT_REQUESTS[question["method"]].answer(question.get("params") or {}).model_validate(answer, by_name=False)
    except ValidationError:
        raise malformed_answer(key, question["method"]) from None
