"""What a client may offer while its user fills in the argument of a prompt or of a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from switchboard.everything import prompts, resources

_NUMBERS = tuple(str(number) for number in range(1, resources.COUNT + 1))
_MOST_VALUES = 100
"""The specification's limit for one answer."""

_OFFERED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    prompts.SIMPLE: {},
    prompts.COMPLEX: {
        "temperature": ("0", "0.5", "0.7", "1.0"),
        "style": ("casual", "formal", "friendly", "technical"),
    },
    prompts.RESOURCE: {"resourceId": _NUMBERS},
    resources.TEMPLATE: {"id": _NUMBERS},
}
"""By prompt name or URI template, then by argument."""


async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,  # noqa: ARG001  the SDK passes the arguments given so far; no offer depends on them
) -> Completion:
    """The values that begin with what was typed so far. An argument that anything fits has none."""
    name = ref.name if isinstance(ref, PromptReference) else ref.uri
    if name not in _OFFERED:
        raise MCPError(code=INVALID_PARAMS, message=f"There is nothing to complete for {name!r}.")
    fitting = [value for value in _OFFERED[name].get(argument.name, ()) if value.startswith(argument.value)]
    return Completion(values=fitting[:_MOST_VALUES], total=len(fitting), has_more=len(fitting) > _MOST_VALUES)


def add_to(server: MCPServer[Any]) -> None:
    """Register the completions."""
    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK left it untyped
