"""Asking the client: what it must have declared first, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import ClientCapabilities
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.protocol.client_requests import Capability


def is_modern(ctx: Context[Any]) -> bool:
    """Whether the client speaks a protocol version without sessions."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def require(ctx: Context[Any], capability: Capability) -> None:
    """Refuse the call unless the client declared a capability.

    The handshake versions leave the form of the refusal open; a tool error is what a model can read. 2026-07-28
    demands the protocol error -32021 (basic/index, "Per-request protocol fields").
    """
    if capability.declared_by(ctx.client_capabilities or ClientCapabilities()):
        return
    message = f"This tool needs a client that declares the capability {capability.name!r}; yours does not."
    if not is_modern(ctx):
        raise ToolError(message)
    raise capability.missing(message)


@contextmanager
def answered(what: str) -> Iterator[None]:
    """Around a request to the client: its error, or an answer of the wrong shape, becomes a tool error.

    Left alone, the client's own error would end the tool call as if this server had made it.
    """
    try:
        yield
    except ValueError as malformed:  # of the schema, or of the SDK where an accepted form came without content
        raise ToolError(f"The client's answer to {what} has the wrong shape.") from malformed
    except MCPError as refused:
        raise ToolError(f"The client answered {what} with an error: {refused.error.message}") from refused
