"""Tools of a plugin as they are called directly, and the commonest of their results: a text.

The SDK makes three models of a text that a function gives, and takes them apart again; here it stays a text. What the
function is given, and what is said of its failures, is left to the SDK's own `Tool.run`; so is every result that is not
a text, or of which the function's annotation says more than that it is one.
"""

from __future__ import annotations

from typing import Any, Final

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from pydantic import BaseModel

from switchboard.protocol.direct_requests import TextResult

_EMPTY: Final = (
    ("__pydantic_extra__", None),
    ("__pydantic_fields_set__", frozenset[str]()),
    ("__pydantic_private__", None),
)
"""What pydantic keeps of a model that has no members."""


class RequestContext(Context[Any, Any]):
    """The SDK's context of a request, read in a twentieth of the time: its private members are plain attributes.

    pydantic makes private members one by one for each model, and finds them by `__getattr__`.
    """

    def __init__(self, request: ServerRequestContext[Any, Any], server: MCPServer[Any]) -> None:
        for slot, empty in _EMPTY:
            object.__setattr__(self, slot, empty)
        vars(self).update(
            _request_context=request, _mcp_server=server, _input_params=None, _subscriptions=server._subscriptions
        )

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class PlainTool:
    """A tool as it was when it was looked up."""

    __slots__ = ("_metadata", "_model", "_structured", "tool")

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self._metadata = tool.fn_metadata
        self._model = tool.fn_metadata.output_model
        self._structured = _also_structured(tool.fn_metadata)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any]) -> HandlerResult | TextResult:
        """Call it, with this context if it takes one; raises what `Tool.run` does."""
        structured = self._structured
        if structured is None or self._metadata.output_model is not self._model:
            result: HandlerResult = await self.tool.run(arguments, context, convert_result=True)
            return result
        value = await self.tool.run(arguments, context)
        if type(value) is str and (value.isascii() or _has_whole_characters(value)):
            return TextResult(value, structured)
        given: Any = _Given(self.tool, value)
        converted: HandlerResult = await Tool.run(given, {}, context, convert_result=True)
        return converted


def _also_structured(metadata: FuncMetadata) -> bool | None:
    """Whether a text that the function gives is its structured content too; `None` where that takes a closer look."""
    model = metadata.output_model if metadata.output_schema is not None else None
    if model is None:
        return False
    if not metadata.wrap_output or not isinstance(model, type) or not issubclass(model, BaseModel):
        return None
    field = model.model_fields.get("result")
    if field is None or len(model.model_fields) != 1 or field.annotation is not str or field.metadata:
        return None
    return True if model.__bases__ == (BaseModel,) and not model.model_config else None


def _has_whole_characters(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it, which no model takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Given:
    """Stands for a tool whose function has given a value, where the SDK's `Tool.run` converts it and words failures."""

    is_async = True
    context_kwarg = None
    resolved_params = None
    fn = None

    def __init__(self, tool: Tool, value: object) -> None:
        self.name = tool.name
        self.fn_metadata = self
        self.convert_result = tool.fn_metadata.convert_result
        self._value = value

    def validate_arguments(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        """They were."""
        return {}

    async def call_fn(self, *_call: object) -> object:
        """It was called."""
        return self._value
