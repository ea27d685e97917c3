"""Values for the arguments of a prompt while they are typed."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from switchboard.conformance.prompts import WITH_ARGUMENTS

_OFFERED = {"arg1": ("test-one", "test-two", "paris"), "arg2": ("blue", "green")}


async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,  # noqa: ARG001  the SDK passes the arguments given so far; no offer depends on them
) -> Completion:
    """The values that begin with what was typed so far."""
    known = isinstance(ref, PromptReference) and ref.name == WITH_ARGUMENTS
    offered = _OFFERED.get(argument.name, ()) if known else ()
    fitting = [value for value in offered if value.startswith(argument.value)]
    return Completion(values=fitting, total=len(fitting), has_more=False)


def add_to(server: MCPServer[Any]) -> None:
    """Register the completions."""
    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK left it untyped
