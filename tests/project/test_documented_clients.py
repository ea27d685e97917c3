"""What docs/reliability.md says of the official Python client, tried with the one that is installed."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mcp import ClientSession, MCPError
from mcp.client import streamable_http
from mcp.client.streamable_http import streamable_http_client

from tools.fleet.children import LOOPBACK

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
OPENED = {"capabilities": {"tools": {}}, "serverInfo": {"name": "probe", "version": "1"}}
DONE = {"content": [{"type": "text", "text": "done"}]}


class Server(http.server.BaseHTTPRequestHandler):
    """Answers the first call with 502 and the next ones properly; cuts every stream off as soon as it is open."""

    protocol_version = "HTTP/1.1"
    calls = 0
    streams = 0

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = message["method"]
        if "id" not in message:
            self._answer(202, b"")
        elif method == "initialize":
            version = message["params"]["protocolVersion"]
            self._result(message, OPENED | {"protocolVersion": version}, Mcp_Session_Id="one")
        elif method == "tools/call":
            Server.calls += 1
            if Server.calls == 1:
                self._answer(502, b"<html>502 Bad Gateway</html>")
            else:
                self._result(message, DONE)
        else:
            self._result(message, {"tools": []})

    def do_GET(self) -> None:
        Server.streams += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        event = b"id: 1\nretry: 1\ndata:\n\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._answer(204, b"")

    def _result(self, message: dict[str, object], result: Mapping[str, object], **headers: str) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self._answer(200, body, **headers)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    Server.calls = Server.streams = 0
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


async def test_after_one_502_the_session_of_the_installed_client_goes_on(url: str) -> None:
    async with (
        asyncio.timeout(60),
        streamable_http_client(url) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        with pytest.raises(MCPError):
            await session.call_tool("any", {})
        assert not (await session.call_tool("any", {})).is_error
    assert "an error of that call; the session goes on" in DOCUMENT


async def streams_opened(url: str, until: int, caplog: pytest.LogCaptureFixture) -> int:
    """How often the client opens its stream, until it gives up or has opened it so many times."""
    with caplog.at_level(logging.DEBUG, "mcp.client.streamable_http"):
        async with (
            asyncio.timeout(60),
            streamable_http_client(url) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            while "max reconnection attempts" not in caplog.text and Server.streams < until:
                await asyncio.sleep(0.01)
    return Server.streams


async def test_the_installed_client_gives_its_stream_up_after_the_second_abrupt_end_unless_told_otherwise(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await streams_opened(url, 4, caplog) == 2
    caplog.clear()
    Server.streams = 0
    assert "mcp.client.streamable_http.MAX_RECONNECTION_ATTEMPTS = 1_000_000" in DOCUMENT
    monkeypatch.setattr(streamable_http, "MAX_RECONNECTION_ATTEMPTS", 1_000_000)
    assert await streams_opened(url, 4, caplog) >= 4
