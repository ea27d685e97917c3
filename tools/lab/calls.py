"""What every driver has its client do. Stands alone: FastMCP's client runs in an environment of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

TOOLS: Final = ("read", "write", "ping_back")


def pauses() -> Sequence[float]:
    """Seconds before each further round of calls."""
    return [float(each) for each in os.environ.get("LAB_PAUSES", "").split(",") if each]


def given() -> tuple[str | None, str | None]:
    """The client id that the client is told of, and the URL of its document; `None` where there is none."""
    return os.environ.get("LAB_CLIENT_ID"), os.environ.get("LAB_CLIENT_DOCUMENT")


async def call_all(client: Any) -> None:
    """List the tools and call each, and again after each pause.

    Args:
        client: has `list_tools` and `call_tool`.

    Raises:
        RuntimeError: a tool answered with an error.
    """
    for pause in (0, *pauses()):
        await asyncio.sleep(pause)
        await client.list_tools()
        for tool in TOOLS:
            result = await client.call_tool(tool, {})
            if result.is_error:
                raise RuntimeError(f"{tool} answered {result.content}")
