"""How MCP requests ended, for the metrics: an answer with status 200 may hold a JSON-RPC error, or a tool's own.

A code has a label of its own if JSON-RPC defines it or leaves it to servers (https://www.jsonrpc.org/specification#error_object).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    CallToolResult,
)
from pydantic import ValidationError

from switchboard.telemetry import metrics

TOOL_ERROR: Final = "tool_error"
"""A result that says `isError`."""

_DEFINED: Final = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR})
_OF_SERVERS: Final = range(-32099, -31999)

_Result = TypeVar("_Result")


async def counted(method: str, work: Awaitable[_Result]) -> _Result:
    """What some work gives for a request or notification, counted if it is an error."""
    try:
        result = await work
    except MCPError as error:
        failed(method, error.error.code)
        raise
    except ValidationError:  # as the client is told
        failed(method, INVALID_PARAMS)
        raise
    if is_error(result):
        tool_failed(method)
    return result


def failed(method: str, code: int) -> None:
    """It is answered with an error."""
    told = str(code) if code in _DEFINED or code in _OF_SERVERS else metrics.OTHER
    metrics.RPC_ERRORS.add(metrics.named(method), told)


def tool_failed(method: str) -> None:
    """Its result says `isError`."""
    metrics.RPC_ERRORS.add(metrics.named(method), TOOL_ERROR)


def is_error(result: Any) -> bool:
    """Whether a result says `isError`."""
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return True
    return False
