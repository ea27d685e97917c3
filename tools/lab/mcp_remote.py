"""Driver of mcp-remote: the official Python client speaks stdio to it. `python -m tools.lab.mcp_remote NODE URL`."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tools.fleet.children import free_port
from tools.lab.calls import call_all, given
from tools.lab.drivers import MODULES


async def main(node: str, url: str) -> None:
    """Connect and call."""
    program = str(MODULES / "mcp-remote" / "dist" / "proxy.js")
    client_id, document = given()
    options = ["--static-oauth-client-info", json.dumps({"client_id": client_id})] if client_id else []
    options += ["--client-metadata-url", document] if document else []
    started = StdioServerParameters(command=node, args=[program, url, str(free_port()), *options], env=dict(os.environ))
    async with Client(stdio_client(started)) as client:
        await call_all(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
