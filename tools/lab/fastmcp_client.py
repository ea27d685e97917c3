"""Driver of FastMCP's client, which runs in an environment of its own: `python -m tools.lab.fastmcp_client URL`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.client.auth import ClientCredentialsOAuthProvider, OAuth  # type: ignore[import-not-found]

from tools.lab.calls import call_all, told


async def main(url: str) -> None:
    """Connect and call."""
    known = told()
    auth: Any = OAuth(
        client_id=known.client or None,
        client_secret=known.secret or None,
        client_metadata_url=known.document or None,
        issuer=known.issuer or None,
    )
    if known.machine:
        auth = ClientCredentialsOAuthProvider(client_id=known.client, client_secret=known.secret, issuer=known.issuer)
    async with Client(url, auth=auth, mode="legacy" if known.legacy else "auto") as client:
        await call_all(client)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
