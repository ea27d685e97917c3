"""Tools that ask the client while the call waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitResult,
    SamplingMessage,
    TextContent,
)
from pydantic import Field

from switchboard.conformance import forms
from switchboard.conformance.fixture import Fixture
from switchboard.conformance.needs import ELICITATION, SAMPLING, require


def sampling(prompt: str, max_tokens: int) -> CreateMessageRequest:
    """A question to the client's model."""
    said = SamplingMessage(role="user", content=TextContent(text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[said], max_tokens=max_tokens))


async def sample(
    ctx: Context[Any],
    prompt: Annotated[str, Field(description="What to ask the model.")],
) -> str:
    """Ask the client's language model, and return what it said."""
    require(ctx, SAMPLING)
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    reply = await ctx.session.send_request(sampling(prompt, 100), CreateMessageResult, metadata=related)
    text = reply.content.text if isinstance(reply.content, TextContent) else "No text response"
    return f"LLM response: {text}"


async def elicit(
    ctx: Context[Any],
    message: Annotated[str, Field(description="What to ask the user.")],
) -> str:
    """Ask the user for a name and an e-mail address, and return them."""
    return _told(await elicited(ctx, message, forms.of_strings("username", "email")), "User response")


async def elicit_defaults(ctx: Context[Any]) -> str:
    """Ask the user with a form in which every field has a default (SEP-1034)."""
    return _told(await elicited(ctx, "Please review and update the form fields with defaults", forms.DEFAULTS))


async def elicit_enums(ctx: Context[Any]) -> str:
    """Ask the user with a form of every kind of selection (SEP-1330)."""
    return _told(await elicited(ctx, "Please select options from the enum fields", forms.ENUMS))


async def streaming_elicitation(ctx: Context[Any]) -> str:
    """Report progress, then ask the user: on the stream of a handshake client, and in rounds since 2026-07-28."""
    await ctx.report_progress(0, 1, "About to ask")
    answer = await elicited(ctx, "What is your name?", forms.of_strings("name"))
    await ctx.report_progress(1, 1, "Asked")
    return _told(answer)


async def missing_capability(ctx: Context[Any]) -> str:
    """Refuse a client without sampling, in the way its protocol version demands."""
    require(ctx, SAMPLING)
    return "The client has declared sampling."


async def elicited(ctx: Context[Any], message: str, form: Mapping[str, Any]) -> ElicitResult:
    """Ask the user to fill in a form."""
    require(ctx, ELICITATION)
    result: ElicitResult = await ctx.session.elicit_form(message, dict(form), ctx.request_id)
    return result


def _told(answer: ElicitResult, title: str = "Elicitation completed") -> str:
    content = "" if answer.content is None else f", content={answer.content}"
    return f"{title}: action={answer.action}{content}"


TOOLS = (
    Fixture(sample, "test_sampling"),
    Fixture(elicit, "test_elicitation"),
    Fixture(elicit_defaults, "test_elicitation_sep1034_defaults"),
    Fixture(elicit_enums, "test_elicitation_sep1330_enums"),
    Fixture(streaming_elicitation, "test_streaming_elicitation"),
    Fixture(missing_capability, "test_missing_capability"),
)
