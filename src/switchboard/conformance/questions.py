"""Questions of a multi-round-trip request (SEP-2322), and how a retry's answers are read.

An answer counts only if it has the shape that was asked for; anything else is as if it were not there, so the question
is put again. Nothing is remembered here: what a later round must know travels in the request state, which the gateway
seals on the way out and opens on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
)

from switchboard.conformance.needs import is_modern

Answer = TypeVar("Answer")


def elicitation(message: str, form: Mapping[str, Any]) -> ElicitRequest:
    """A question to the user."""
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=dict(form)))


def ask(ctx: Context[Any], questions: Mapping[str, InputRequest], state: str | None = None) -> InputRequiredResult:
    """End this round with questions.

    Raises:
        ToolError: the client is of the handshake era, which has no rounds.
    """
    if not is_modern(ctx):
        raise ToolError("This needs a client that speaks 2026-07-28 or later.")
    return InputRequiredResult(input_requests=dict(questions), request_state=state)


def answer(ctx: Context[Any], key: str, shape: type[Answer]) -> Answer | None:
    """The answer to one question, if it came in the right shape."""
    found = (ctx.input_responses or {}).get(key)
    return found if isinstance(found, shape) else None


def filled_in(ctx: Context[Any], key: str, field: str, of: type[Answer]) -> Answer | None:
    """One field of a form that the user accepted."""
    form = answer(ctx, key, ElicitResult)
    if form is None or form.action != "accept" or form.content is None:
        return None
    value = form.content.get(field)
    return value if isinstance(value, of) else None
