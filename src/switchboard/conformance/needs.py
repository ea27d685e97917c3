"""What a client must have declared before it may be asked for something."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    ElicitationCapability,
    MissingRequiredClientCapabilityErrorData,
    RootsCapability,
    SamplingCapability,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

SAMPLING = ClientCapabilities(sampling=SamplingCapability())
ELICITATION = ClientCapabilities(elicitation=ElicitationCapability())
ROOTS = ClientCapabilities(roots=RootsCapability())


def is_modern(ctx: Context[Any]) -> bool:
    """Whether the client speaks a protocol version without sessions."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def has(ctx: Context[Any], needed: ClientCapabilities) -> bool:
    """Whether the client declared the capabilities."""
    declared = ctx.client_capabilities or ClientCapabilities()
    return all(getattr(declared, name) is not None for name in needed.model_fields_set)


def require(ctx: Context[Any], needed: ClientCapabilities) -> None:
    """Refuse the call unless the client declared the capabilities.

    2026-07-28 demands the protocol error -32021, with what is missing; the handshake versions leave the form open.
    """
    if has(ctx, needed):
        return
    message = f"The client has not declared: {', '.join(sorted(needed.model_fields_set))}"
    if not is_modern(ctx):
        raise ToolError(message)
    data = MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
    raise MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY, message, data.model_dump(by_alias=True, mode="json", exclude_none=True)
    )
