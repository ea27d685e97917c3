"""A link that one worker's call gave is read through any worker, by clients of both eras."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tools.fleet.workers import offered


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_link_is_read_through_any_worker(
    era: str, scripted: Any, fleet: Any, connect: Any, redis_url: str
) -> None:
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18", "serverInfo": {"name": "o", "version": "1"},
            "capabilities": {"tools": {}, "resources": {}},
        },
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "tools/call": {"content": [{"type": "resource_link", "uri": "report://2024/q1", "name": "q1"}]},
        "resources/read": {"contents": [{"uri": "report://2024/q1", "text": "it is here"}]},
    }  # fmt: skip
    say = {
        method: [f'{{"jsonrpc":"2.0","id":$ID,"result":{json.dumps(result)}}}'] for method, result in results.items()
    }
    urls = await fleet([scripted({"say": say})], count=2, redis_url=redis_url)
    async with connect(urls, era) as client:
        await offered(client, "odd__t")
        with pytest.raises(MCPError):
            await client.read_resource("report://2024/q1")
        await client.call_tool("odd__t")
        for _ in range(4):  # each by the next worker
            assert (await client.read_resource("report://2024/q1")).contents[0].text == "it is here"
