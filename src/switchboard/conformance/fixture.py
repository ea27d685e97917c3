"""A row of a tool table: the function, the name that the suite calls it by, and the schema where the suite fixes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.tools import Tool

from switchboard.plugins import TASK_SUPPORT, TaskSupport


@dataclass(frozen=True)
class Fixture:
    """One tool. Its docstring is the description that clients see."""

    fn: Callable[..., Any]
    name: str
    schema: Mapping[str, Any] | None = None
    """The input schema as published, where one derived from the function would not do."""

    task: TaskSupport | None = None
    """Whether it can, or must, run as a task."""

    def tool(self) -> Tool:
        """The SDK's tool."""
        description = " ".join((self.fn.__doc__ or "").split())
        meta = {TASK_SUPPORT: self.task} if self.task else None
        tool = Tool.from_function(self.fn, name=self.name, description=description, meta=meta, structured_output=False)
        return tool if self.schema is None else tool.model_copy(update={"parameters": dict(self.schema)})
