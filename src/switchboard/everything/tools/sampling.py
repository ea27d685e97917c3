"""Sampling: the server borrows the client's language model."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    SamplingMessage,
    TextContent,
)
from pydantic import Field

from switchboard.everything.asking import answered, require
from switchboard.everything.declared import ASKING, Declared
from switchboard.protocol.client_requests import SAMPLING


async def sample_llm(
    ctx: Context[Any],
    prompt: Annotated[str, Field(description="What to ask the model.", min_length=1, max_length=100_000)],
    maxTokens: Annotated[  # noqa: N803  the argument's public name
        int, Field(description="The most tokens that the model may generate.", ge=1, le=100_000)
    ] = 100,
) -> str:
    """Ask the client's language model, through MCP sampling, and return what it said. Needs a client with sampling."""
    require(ctx, SAMPLING)
    request = CreateMessageRequest(
        params=CreateMessageRequestParams(
            messages=[SamplingMessage(role="user", content=TextContent(text=prompt))],
            system_prompt="You are a helpful test server.",
            max_tokens=maxTokens,
            temperature=0.7,
        )
    )
    with answered("sampling/createMessage"):
        reply = await ctx.session.send_request(
            request, CreateMessageResult, metadata=ServerMessageMetadata(related_request_id=ctx.request_id)
        )
    return f"LLM sampling result: {_words(reply)}"


def _words(reply: CreateMessageResult) -> str:
    if isinstance(reply.content, TextContent):
        return reply.content.text
    return reply.content.model_dump_json(by_alias=True, exclude_none=True)


TOOLS = (Declared(sample_llm, "sampleLLM", "Sample the client's model", ASKING),)
