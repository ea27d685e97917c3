"""The three ways to be authorized, as a table: who verifies tokens, and which routes come with that.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from switchboard.edge.bearer import Anonymous
from switchboard.settings import Settings
from switchboard.state import State

SCOPES: Final = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", "admin")


@dataclass(frozen=True)
class Authorization:
    """How `/mcp` is protected, and what else is served for that."""

    protect: Callable[[ASGIApp], ASGIApp]
    routes: Sequence[BaseRoute] = ()


async def authorize(settings: Settings, state: State, stack: AsyncExitStack) -> Authorization:
    """Set up `AUTH_MODE`; what must be closed again goes on `stack`."""
    return await _MODES[settings.auth_mode](settings, state, stack)


async def _none(_settings: Settings, _state: State, _stack: AsyncExitStack) -> Authorization:
    return Authorization(Anonymous)


_MODES: Final[dict[str, Callable[[Settings, State, AsyncExitStack], Awaitable[Authorization]]]] = {"none": _none}
