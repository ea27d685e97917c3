"""Results that are texts, in wire form: written without the SDK's models, which would leave them as they are.

The members are in the order in which the SDK's kernel has them, so that answers are the same byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp_types import SERVER_INFO_META_KEY, CallToolResult, TextContent
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.protocol.direct_requests import TextResult

_PLAIN: Final = (str, int, bool, type(None))
"""Types of values that are their own JSON."""


def of_text(version: str, result: TextResult, stamp: Mapping[str, Any]) -> dict[str, Any]:
    """A text that a tool gave, as it goes out.

    Args:
        stamp: what a server says of itself in the modern era.
    """
    text = result.text
    said: dict[str, Any] = {"content": [{"text": text, "type": "text"}], "isError": False}
    modern = version in MODERN_PROTOCOL_VERSIONS
    if modern:
        said["resultType"] = "complete"
    if result.structured:
        said["structuredContent"] = {"result": text}
    if modern:
        said["_meta"] = {SERVER_INFO_META_KEY: stamp}
    return said


def of_texts(version: str, result: HandlerResult) -> dict[str, Any] | None:
    """A result of texts, in wire form without the models, which would leave it as it is; None for any other."""
    if type(result) is not CallToolResult or result.meta is not None or result.result_type != "complete":
        return None
    content = []
    for block in result.content:
        if type(block) is not TextContent or block.annotations or block.meta or type(block.text) is not str:
            return None
        content.append({"text": block.text, "type": "text"})
    said: dict[str, Any] = {"content": content, "isError": result.is_error}  # in the order in which the kernel has it
    if version in MODERN_PROTOCOL_VERSIONS:
        said["resultType"] = "complete"
    structured = result.structured_content
    if structured is not None:
        if type(structured) is not dict or not all(map(_is_plain_member, structured.items())):
            return None
        said["structuredContent"] = structured
    return said


def _is_plain_member(member: tuple[Any, Any]) -> bool:
    return type(member[0]) is str and type(member[1]) in _PLAIN
