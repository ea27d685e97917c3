"""What a backend says that no version of the protocol knows: it reaches the client, and is never an error."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx2
import pytest
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import LATEST_MODERN_VERSION

from switchboard.protocol.unknown_members import KNOWN, note, put_back
from tests.backends.conftest import Fleet, Raw

RESULT = {"content": [{"type": "text", "text": "done", "later": 1}], "later": {"b": [1, None]}, "structuredContent": {}}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25", LATEST_MODERN_VERSION])
async def test_unknown_members_of_a_result_reach_the_client(version: str, scripted: Raw, fleet: Fleet) -> None:
    answer = '{"jsonrpc":"2.0","id":$ID,"result":' + json.dumps(RESULT) + "}"
    odd = '{"jsonrpc":"2.0","method":"notifications/of/later","params":{"a":1}}'
    (url,) = await fleet([scripted({"say": {"tools/call": [odd, answer]}})])
    headers = {"accept": "application/json, text/event-stream", MCP_PROTOCOL_VERSION_HEADER: version}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        params: dict[str, Any] = {"name": "odd__t", "arguments": {}}
        if version == LATEST_MODERN_VERSION:
            about = {"name": "t", "version": "1"}
            stated = {"protocolVersion": version, "clientInfo": about, "clientCapabilities": {}}
            params["_meta"] = {f"io.modelcontextprotocol/{key}": value for key, value in stated.items()}
            http.headers |= {"mcp-method": "tools/call", "mcp-name": "odd__t"}
        else:
            opening = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            del http.headers[MCP_PROTOCOL_VERSION_HEADER]
            opened = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening})
            http.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
            await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        answered = await http.post(url, json=body)
        while "Unknown tool" in answered.text:
            answered = await http.post(url, json=body)
    result = answered.json()["result"]
    assert result["later"] == RESULT["later"]
    assert result["content"][0]["text"] == "done"


async def test_only_what_no_version_knows_is_put_back() -> None:
    async def passed_on(_ctx: Any) -> dict[str, Any]:
        note({"content": [], "resultType": "complete", "later": 1})
        return {"isError": False}

    assert {"content", "structuredContent", "isError", "_meta", "resultType", "ttlMs"} <= KNOWN
    assert await put_back(cast("Any", None), passed_on) == {"isError": False, "later": 1}
