"""Members of a backend's result that no version of the protocol knows, on their way past the kernel.

The SDK writes a result by the model of the client's version, which leaves them out; they are for the client to read or
to ignore. A leaf: whoever passes a result on notes them, and a middleware puts them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import mcp_types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

_noted: ContextVar[dict[str, Any] | None] = ContextVar("switchboard_unknown_members", default=None)

KNOWN: Final = frozenset(
    field.alias or name
    for kind in vars(mcp_types).values()
    if isinstance(kind, type) and issubclass(kind, mcp_types.Result)
    for name, field in kind.model_fields.items()
)


async def put_back(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Serve a request, and add what its backend said beyond the protocol."""
    with Noting() as noted:
        result = await call_next(ctx)
    return {**noted, **result} if noted and isinstance(result, dict) else result


class Noting:
    """While entered, what is noted comes into the mapping that it gives."""

    __slots__ = ("_reset",)

    def __enter__(self) -> dict[str, Any]:
        noted: dict[str, Any] = {}
        self._reset = _noted.set(noted)
        return noted

    def __exit__(self, *_: object) -> None:
        _noted.reset(self._reset)


def note(result: Mapping[str, Any]) -> None:
    """Note the unknown members of a result."""
    found = _noted.get()
    if found is not None:
        found.update((name, value) for name, value in result.items() if name not in KNOWN)
