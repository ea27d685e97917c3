"""Definitions and results as clients of a protocol version may get them.

What a version does not know is left out, or said in words that it does know, rather than costing the client the whole
answer.

https://modelcontextprotocol.io/specification/2025-11-25/changelog, and those of the versions before and after it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    GetPromptResult,
    ResourceLink,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

AUDIO_SINCE: Final = "2025-03-26"
LINKS_SINCE: Final = "2025-06-18"


def fitted_definition(version: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """A definition in wire form: before 2026-07-28 a tool's result has a schema only if that is one of objects."""
    schema = definition.get("outputSchema")
    if version in MODERN_PROTOCOL_VERSIONS or schema is None or schema.get("type") == "object":
        return definition
    return {key: value for key, value in definition.items() if key != "outputSchema"}


def fitted_result(version: str, result: HandlerResult) -> HandlerResult:
    """The result of a tool or a prompt; any other, and what needs no change, as it is."""
    if version in MODERN_PROTOCOL_VERSIONS:
        return result
    if isinstance(result, CallToolResult):
        return _tool_result(version, result)
    if isinstance(result, GetPromptResult) and version < LINKS_SINCE:
        messages = [each.model_copy(update={"content": _block(version, each.content)}) for each in result.messages]
        return result.model_copy(update={"messages": messages})
    return result


def _tool_result(version: str, result: CallToolResult) -> CallToolResult:
    content: list[Any] = (
        list(result.content) if version >= LINKS_SINCE else [_block(version, block) for block in result.content]
    )
    structured = result.structured_content
    if structured is not None and not isinstance(structured, dict):  # objects only, before 2026-07-28
        content = content or [TextContent(type="text", text=json.dumps(structured, ensure_ascii=False))]
        structured = None
    return result.model_copy(update={"content": content, "structured_content": structured})


def _block(version: str, block: Any) -> Any:
    if isinstance(block, ResourceLink) and version < LINKS_SINCE:
        words = [block.title or block.name, block.description, f"<{block.uri}>"]
        return TextContent(type="text", text=" ".join(word for word in words if word), annotations=block.annotations)
    if isinstance(block, AudioContent) and version < AUDIO_SINCE:
        held = BlobResourceContents(uri="attachment:audio", mime_type=block.mime_type, blob=block.data)
        return EmbeddedResource(type="resource", resource=held, annotations=block.annotations)
    return block
