"""Driver of FastMCP's client, which runs in an environment of its own: `python -m tools.lab.fastmcp_client URL`."""

from __future__ import annotations

import asyncio
import sys

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.client.auth import OAuth  # type: ignore[import-not-found]

from tools.lab.calls import call_all, given


async def main(url: str) -> None:
    """Connect and call."""
    client_id, document = given()
    async with Client(url, auth=OAuth(client_id=client_id, client_metadata_url=document)) as client:
        await call_all(client)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
