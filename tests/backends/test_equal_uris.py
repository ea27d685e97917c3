"""A backend is asked for a resource under the URI that it listed, whatever form of it a client uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client
from mcp_types import ResourceTemplateReference

from tests.backends.conftest import Open, Raw


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_backend_is_asked_under_the_form_that_it_listed(
    era: str, scripted: Raw, open_gateway: Open, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    resources = [
        {"uri": uri, "name": uri} for uri in ("file:///my docs/a.txt", "KBInfo://Summary", "http://example.com")
    ]
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18", "serverInfo": {"name": "o", "version": "1"},
            "capabilities": {"resources": {}, "completions": {}},
        },
        "resources/list": {"resources": resources},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "docs://caf\u00e9/{name}", "name": "t"}]},
        "resources/read": {"contents": [{"uri": "x:y", "text": "read"}]},
        "completion/complete": {"completion": {"values": ["v"]}},
    }  # fmt: skip
    say = {
        method: [f'{{"jsonrpc":"2.0","id":$ID,"result":{json.dumps(result)}}}'] for method, result in results.items()
    }
    async with open_gateway(scripted({"say": say, "heard": str(heard)})) as opened:
        await opened.discovered()
        async with Client(opened.server, mode=era) as client:
            for uri in ("file:///my%20docs/a.txt", "kbinfo://Summary", "http://example.com/", "docs://caf%C3%A9/n"):
                await client.read_resource(uri)
            ref = ResourceTemplateReference(type="ref/resource", uri="docs://caf%C3%A9/%7Bname%7D")
            await client.complete(ref, {"name": "name", "value": "v"})
    asked = [json.loads(line) for line in heard.read_text().splitlines()]
    read = [each["params"]["uri"] for each in asked if each["method"] == "resources/read"]
    assert read == ["file:///my docs/a.txt", "KBInfo://Summary", "http://example.com", "docs://caf\u00e9/n"]
    (completed,) = [each["params"]["ref"]["uri"] for each in asked if each["method"] == "completion/complete"]
    assert completed == "docs://caf\u00e9/{name}"
