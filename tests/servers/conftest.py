"""Whole workers that read a configuration file, and small servers for it to speak of."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from switchboard.app import build
from switchboard.settings import load_settings
from tools.serving import serving

PATIENCE_S = 300
KEY = "a key for tests that is long enough to be one"

SERVER = """
import json, os, sys, time

name, tool, wait = sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0
time.sleep(wait)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": name, "version": "1"}, "instructions": "I am " + name,
        },
        "ping": {},
        "tools/list": {"tools": [{"name": tool, "description": "Says who it is", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": f"{name} {os.getpid()} {os.environ.get('GREETING', '')}"}]},
    }
    result = results.get(message["method"])
    answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


@dataclass
class Setup:
    """A configuration file, and the workers that read it."""

    folder: Path
    start: Callable[..., Any]
    urls: list[str] = field(default_factory=list)
    apps: list[Any] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "switchboard.json"

    def server(self, name: str, tool: str = "who", wait: float = 0, **row: Any) -> dict[str, Any]:
        """A row for a small server."""
        arguments = ["-S", str(self.folder / "server.py"), name, tool, str(wait)]
        return {"command": sys.executable, "args": arguments, "era": "handshake", "scope": "shared", **row}

    def write(self, servers: dict[str, Any], **more: Any) -> None:
        """Replace the file in one step."""
        document = {"plugins": {"everything": {"enabled": False}}, "mcpServers": servers, **more}
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(document))
        os.replace(beside, self.file)


async def tools(client: Client) -> list[str]:
    """The names that a client sees."""
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.fixture
def until() -> Callable[..., Any]:
    """`await until(lambda: …)`: wait for something to be true; what is given may be awaitable."""

    async def waiting(true: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
        async with asyncio.timeout(seconds):
            while True:
                found = true()
                if await found if hasattr(found, "__await__") else found:
                    return
                await asyncio.sleep(0.02)

    return waiting


@pytest.fixture
def listed() -> Callable[..., Any]:
    """`await listed(url)`: what a new client sees there."""

    async def asked(url: str, mode: str = "auto") -> list[str]:
        async with Client(url, mode=mode) as client:
            return await tools(client)

    return asked


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    """`setup.write({…})`, then `await setup.start()`: a worker that reads that file; its URL."""
    (tmp_path / "server.py").write_text(SERVER)
    async with AsyncExitStack() as stack:

        async def start(**given: Any) -> str:
            settings = {"auth_mode": "none", "rate_limit": 0, "secret_key": KEY, "cache_dir": tmp_path / "cache"}
            app = build(load_settings(None, **{**settings, "config_file": made.file, **given}))
            server = await stack.enter_async_context(serving(app, app.drain))
            made.apps.append(app)
            made.urls.append(f"{server.url}/mcp")
            return made.urls[-1]

        made = Setup(tmp_path, start)
        yield made
