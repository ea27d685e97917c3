"""Driver of mcp-remote: the official Python client speaks stdio to it. `python -m tools.lab.mcp_remote NODE URL`."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tools.fleet.children import free_port
from tools.lab.calls import call_all, told
from tools.lab.drivers import MODULES


async def main(node: str, url: str) -> None:
    """Connect and call."""
    program, known = str(MODULES / "mcp-remote" / "dist" / "proxy.js"), told()
    about = {"client_id": known.client, "client_secret": known.secret}
    given = json.dumps({name: value for name, value in about.items() if value})
    options = ["--static-oauth-client-info", given] if known.client else []
    options += ["--client-metadata-url", known.document] if known.document else []
    options += ["--client-credentials"] if known.machine else []
    started = StdioServerParameters(command=node, args=[program, url, str(free_port()), *options], env=dict(os.environ))
    async with Client(stdio_client(started), mode="legacy" if known.legacy else "auto") as client:
        await call_all(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
