"""Waiting until a gateway offers something: what its backends have, it finds out by and by."""

from __future__ import annotations

import asyncio

from mcp import Client

OFFERED_WITHIN_S = 30


async def offered(client: Client, tool: str, times: int = 1) -> None:
    """Wait until the client was offered the tool so many times: with several workers in turn, by each of them."""
    async with asyncio.timeout(OFFERED_WITHIN_S):
        while times:
            tools = (await client.list_tools(cache_mode="refresh")).tools
            times = times - 1 if any(one.name == tool for one in tools) else times
            await asyncio.sleep(0.02)
