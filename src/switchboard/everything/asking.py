"""Asking the client: what it must have declared first, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    ElicitationCapability,
    FormElicitationCapability,
    MissingRequiredClientCapabilityErrorData,
    RootsCapability,
    SamplingCapability,
    UrlElicitationCapability,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS


@dataclass(frozen=True)
class Need:
    """A capability that a client must have declared before it may be asked for something."""

    name: str
    declared: Callable[[ClientCapabilities], bool]
    required: ClientCapabilities


def _takes_forms(capabilities: ClientCapabilities) -> bool:
    # An empty `elicitation` is from before there were modes, and means forms.
    asked = capabilities.elicitation
    return asked is not None and (asked.form is not None or asked.url is None)


def _takes_urls(capabilities: ClientCapabilities) -> bool:
    return capabilities.elicitation is not None and capabilities.elicitation.url is not None


SAMPLING = Need("sampling", lambda has: has.sampling is not None, ClientCapabilities(sampling=SamplingCapability()))
ROOTS = Need("roots", lambda has: has.roots is not None, ClientCapabilities(roots=RootsCapability()))
FORMS = Need(
    "elicitation.form",
    _takes_forms,
    ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability())),
)
URLS = Need(
    "elicitation.url",
    _takes_urls,
    ClientCapabilities(elicitation=ElicitationCapability(url=UrlElicitationCapability())),
)


def is_modern(ctx: Context[Any]) -> bool:
    """Whether the client speaks a protocol version without sessions."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def require(ctx: Context[Any], need: Need) -> None:
    """Refuse the call unless the client declared a capability.

    The handshake versions leave the form of the refusal open; a tool error is what a model can read. 2026-07-28
    demands the protocol error -32021 (basic/index, "Per-request protocol fields").
    """
    if need.declared(ctx.client_capabilities or ClientCapabilities()):
        return
    message = f"This tool needs a client that declares the capability {need.name!r}; yours does not."
    if not is_modern(ctx):
        raise ToolError(message)
    data = MissingRequiredClientCapabilityErrorData(required_capabilities=need.required)
    raise MCPError(
        code=MISSING_REQUIRED_CLIENT_CAPABILITY,
        message=message,
        data=data.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


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
