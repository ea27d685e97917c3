"""Tools and a prompt that ask in rounds, each round a request of its own that may reach another worker (SEP-2322)."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CreateMessageResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    TextContent,
)

from switchboard.conformance import forms
from switchboard.conformance.asking import sampling
from switchboard.conformance.fixture import Fixture
from switchboard.conformance.needs import ELICITATION, ROOTS, SAMPLING, has
from switchboard.conformance.questions import answer, ask, elicitation, filled_in

Rounds = str | InputRequiredResult

_NAME = elicitation("What is your name?", forms.of_strings("name"))
_CONFIRM = elicitation("Please confirm", forms.confirmation("ok"))
_CAPITAL = sampling("What is the capital of France?", 100)
_GREETING = sampling("Generate a greeting", 50)


def _named(roots: ListRootsResult) -> str:
    return ", ".join(f"{root.name or 'unnamed'} ({root.uri})" for root in roots.roots) or "none"


def _said(reply: CreateMessageResult) -> str:
    return reply.content.text if isinstance(reply.content, TextContent) else "something that is not text"


async def elicited(ctx: Context[Any]) -> Rounds:
    """Ask the user for a name, and greet by it."""
    name = filled_in(ctx, "user_name", "name", str)
    return ask(ctx, {"user_name": _NAME}) if name is None else f"Hello, {name}!"


async def sampled(ctx: Context[Any]) -> Rounds:
    """Ask the client's model a question, and return what it said."""
    reply = answer(ctx, "capital_question", CreateMessageResult)
    return ask(ctx, {"capital_question": _CAPITAL}) if reply is None else f"The model said: {_said(reply)}"


async def rooted(ctx: Context[Any]) -> Rounds:
    """Ask the client for its roots, and return them."""
    roots = answer(ctx, "client_roots", ListRootsResult)
    return ask(ctx, {"client_roots": ListRootsRequest()}) if roots is None else f"The client's roots: {_named(roots)}"


async def confirmed(ctx: Context[Any]) -> Rounds:
    """Ask the user to confirm, and check that the request state came back."""
    if filled_in(ctx, "confirm", "ok", bool) is None or ctx.request_state is None:
        return ask(ctx, {"confirm": _CONFIRM}, "confirmation asked")
    _expect(ctx.request_state, "confirmation asked")
    return "state-ok: the request state came back as it was sent."


async def several(ctx: Context[Any]) -> Rounds:
    """Ask the user, the model and the client itself in one round."""
    name = filled_in(ctx, "user_name", "name", str)
    greeting = answer(ctx, "greeting", CreateMessageResult)
    roots = answer(ctx, "client_roots", ListRootsResult)
    if name is None or greeting is None or roots is None or ctx.request_state is None:
        asked: dict[str, InputRequest] = {
            "user_name": _NAME,
            "greeting": _GREETING,
            "client_roots": ListRootsRequest(),
        }
        return ask(ctx, asked, "three things asked")
    _expect(ctx.request_state, "three things asked")
    return f"{_said(greeting)} This is {name}, at home in: {_named(roots)}"


_STEP = "step 2 for "


async def stepwise(ctx: Context[Any]) -> Rounds:
    """Ask the user two things, one round after the other; the first answer travels in the request state."""
    state = ctx.request_state or ""
    if state.startswith(_STEP):
        name, color = state.removeprefix(_STEP), filled_in(ctx, "step2", "color", str)
    else:
        name, color = filled_in(ctx, "step1", "name", str) or "", None
    if not name:
        question = elicitation("Step 1: What is your name?", forms.of_strings("name"))
        return ask(ctx, {"step1": question}, "step 1")
    if color is None:
        question = elicitation("Step 2: What is your favorite color?", forms.of_strings("color"))
        return ask(ctx, {"step2": question}, f"{_STEP}{name}")
    return f"{name} likes {color}."


async def guarded(ctx: Context[Any]) -> Rounds:
    """Ask the user to confirm; a request state that was changed on the way is refused before it comes here."""
    return await confirmed(ctx)


async def fitting(ctx: Context[Any]) -> Rounds:
    """Ask for nothing but what the client declared that it can answer."""
    offers: tuple[tuple[str, InputRequest, bool], ...] = (
        ("user_name", _NAME, has(ctx, ELICITATION)),
        ("capital_question", _CAPITAL, has(ctx, SAMPLING)),
        ("client_roots", ListRootsRequest(), has(ctx, ROOTS)),
    )
    open_questions = {key: question for key, question, possible in offers if possible and not _has(ctx, key)}
    return ask(ctx, open_questions) if open_questions else "Everything that the client can answer was answered."


async def prompted(ctx: Context[Any]) -> list[UserMessage] | InputRequiredResult:
    """A prompt that first asks the user for its context."""
    context = filled_in(ctx, "user_context", "context", str)
    if context is None:
        form = forms.of_strings("context")
        return ask(ctx, {"user_context": elicitation("What context should the prompt use?", form)})
    return [UserMessage(f"Use this context: {context}")]


def _has(ctx: Context[Any], key: str) -> bool:
    return key in (ctx.input_responses or {})


def _expect(state: str, minted: str) -> None:
    if state != minted:
        raise MCPError(INVALID_PARAMS, "The request state belongs to another round")


TOOLS = (
    Fixture(elicited, "test_input_required_result_elicitation"),
    Fixture(sampled, "test_input_required_result_sampling"),
    Fixture(rooted, "test_input_required_result_list_roots"),
    Fixture(confirmed, "test_input_required_result_request_state"),
    Fixture(several, "test_input_required_result_multiple_inputs"),
    Fixture(stepwise, "test_input_required_result_multi_round"),
    Fixture(guarded, "test_input_required_result_tampered_state"),
    Fixture(fitting, "test_input_required_result_capabilities"),
)
