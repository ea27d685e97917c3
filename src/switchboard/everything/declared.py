"""A row of a tool table: the function, and what a client is told about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import Icon, ToolAnnotations

from switchboard.plugins import TASK_SUPPORT, TaskSupport

PURE = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
"""Answers from its arguments and from what this server holds."""

ASKING = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
"""Changes nothing, but asks the client, its user or its model, who may answer differently each time."""


@dataclass(frozen=True)
class Declared:
    """One tool. Its docstring is the description that models read."""

    fn: Callable[..., Any]
    name: str
    title: str
    annotations: ToolAnnotations
    structured: bool = False
    """Whether the tool publishes an output schema, derived from what the function returns."""

    task: TaskSupport | None = None
    """Whether the tool may run as a task."""

    icons: tuple[Icon, ...] = ()
    """Pictures that a client may show beside the tool."""

    @property
    def description(self) -> str:
        """The function's docstring on one line."""
        return " ".join((self.fn.__doc__ or "").split())

    def tool(self) -> Tool:
        """The SDK's tool."""
        return Tool.from_function(
            self.fn,
            name=self.name,
            title=self.title,
            description=self.description,
            annotations=self.annotations,
            icons=list(self.icons) or None,
            meta={TASK_SUPPORT: self.task} if self.task else None,
            structured_output=self.structured,
        )
