"""A row of a tool table: the function, the name the suite calls it by, and the input schema where the suite fixes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.tools import Tool


@dataclass(frozen=True)
class Fixture:
    """One tool. Its docstring is the description that clients see."""

    fn: Callable[..., Any]
    name: str
    schema: Mapping[str, Any] | None = None
    """The input schema as published, where one derived from the function would not do."""

    def tool(self) -> Tool:
        """The SDK's tool."""
        description = " ".join((self.fn.__doc__ or "").split())
        tool = Tool.from_function(self.fn, name=self.name, description=description, structured_output=False)
        return tool if self.schema is None else tool.model_copy(update={"parameters": dict(self.schema)})
