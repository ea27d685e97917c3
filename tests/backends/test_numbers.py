"""A number on its way to a backend, through both eras' doors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from mcp import Client

from tests.backends.conftest import Fleet, Raw

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def called(url: str, number: str, era: str) -> httpx2.Response:
    params: dict[str, Any] = {"name": "own__echo", "arguments": {"text": "NUMBER"}}
    headers = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "own__echo"}
    async with httpx2.AsyncClient() as http:
        if era == "handshake":
            begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": begin}
            session = (await http.post(url, json=hello, headers=ACCEPT)).headers["mcp-session-id"]
            headers = {**ACCEPT, "Mcp-Session-Id": session}
        else:
            params["_meta"] = ENVELOPE
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        return await http.post(url, content=body.replace('"NUMBER"', number), headers=headers)


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_number_reaches_a_backend_as_it_was_written_or_the_call_is_refused(
    era: str, raw: Raw, fleet: Fleet
) -> None:
    (url,) = await fleet([raw("own")])
    async with asyncio.timeout(60), Client(url) as client:
        while "own__echo" not in [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools]:
            await asyncio.sleep(0.02)
    for number in ("12345678901234567890123", "0.1", "1" + "0" * 400, "1.7976931348623157e+308"):
        assert f':{number}"' in (await called(url, number, era)).text
    refused = await called(url, "1e999", era)
    assert refused.status_code == 400
    assert "the number 1e999 is beyond what a double can hold" in refused.json()["error"]["message"]
