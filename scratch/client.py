"""A small client in Python: sign in, connect, look around, call a tool, answer a question.

    python scratch/client.py [URL] [legacy|auto]        (http://localhost:3232/mcp, auto)

`auto` speaks 2026-07-28, `legacy` the handshake versions; the code is the same.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import mcp_types as types
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


def sign_in(url: str, user: str = "alice") -> str:
    """An access token, by the real flow: `switchboard token` plays the browser."""
    command = [str(Path(sys.executable).parent / "switchboard"), "token", "--user", user, "--url", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def fill_in(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Answer the server's question, as a person at a form would."""
    print(f"   the server asks: {params.message}")
    fields = getattr(params, "requested_schema", {}).get("properties", {})
    known: dict[str, str | int | float | bool | list[str] | None] = {"city": "Oslo", "nights": 3, "name": "Alice"}
    typed = {name: value for name, value in known.items() if name in fields}
    return types.ElicitResult(action="accept", content=typed)


async def report(progress: float, total: float | None, message: str | None) -> None:
    """Show how far a call has come."""
    print(f"   {progress:g} of {total:g}: {message}")


async def main(url: str, mode: str) -> None:
    """The tour."""
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {sign_in(url)}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, elicitation_callback=fill_in) as client,
    ):
        print(f"connected to {client.server_info.name if client.server_info else '?'}, {client.protocol_version}")
        print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
        print("whoami:", (await client.call_tool("whoami")).structured_content)
        print("longRunningOperation:")
        await client.call_tool("longRunningOperation", {"duration": 2, "steps": 4}, progress_callback=report)
        print("multiRoundTrip:")
        print("  ", (await client.call_tool("multiRoundTrip")).structured_content)


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(main(given[0] if given else "http://localhost:3232/mcp", given[1] if len(given) > 1 else "auto"))
