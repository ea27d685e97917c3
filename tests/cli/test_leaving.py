"""A worker that leaves while requests keep coming: whoever was let in is served, whoever comes later is refused."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import http.client
import json
import socket
import struct
import sys
import threading
from collections import Counter
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from switchboard.cli.processes.graceful_shutdown import close_door, lock
from tools.fleet.children import LOOPBACK, free_port
from tools.fleet.workers import fleet_settings, start_worker

CALLERS = 40
TURNS = 20_000
STREAM = "text/event-stream"
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(port: int) -> str:
    """What comes back for one request on a connection of its own."""
    with socket.create_connection((LOOPBACK, port), timeout=120) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        return connection.recv(4096).decode().split("\r\n", 1)[0]


def until_refused(port: int, seen: Counter[str]) -> None:
    """Call again and again, and count what comes back."""
    for _ in range(TURNS):
        try:
            seen[call(port)] += 1
        except ConnectionRefusedError:
            seen["refused"] += 1
            return
        except OSError as error:
            seen[type(error).__name__] += 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_no_request_is_reset_by_workers_that_leave(redis_url: str, tmp_path: Path, processes: str) -> None:
    port = free_port()
    settings = {**fleet_settings(f"http://localhost:{port}", redis_url), "AUTH_MODE": "none", "DRAIN_GRACE": "1"}
    settings["WORKERS"] = processes
    worker = start_worker(tmp_path, port, settings)
    seen: Counter[str] = Counter()
    callers = [threading.Thread(target=until_refused, args=(port, seen)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    code = worker.stop()
    for caller in callers:
        caller.join()
    assert (code, set(seen), seen["refused"]) == (0, {"HTTP/1.1 200 OK", "refused"}, CALLERS), worker.tail()


async def test_a_connection_that_nobody_has_accepted_yet_is_served_and_the_next_one_refused() -> None:
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(PlainTextResponse("served"), lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server((LOOPBACK, 0)) as door, socket.socket() as early, socket.socket() as late:
        where = door.getsockname()
        server.servers = [await loop.create_server(asyncio.Protocol, sock=door, start_serving=False)]
        early.connect(where)
        early.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        early.setblocking(False)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(close_door(server, [door], 5, alone=False))
            assert (await loop.sock_recv(early, 4096)).startswith(b"HTTP/1.1 200")
            assert not leaving.done(), "connections stay open for a while"
            late.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(late, where)
            leaving.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a door cannot be locked")
def test_a_locked_door_lets_in_whoever_has_knocked_and_nobody_else() -> None:
    with socket.create_server((LOOPBACK, 0)) as door, socket.socket() as early, socket.socket() as late:
        door.settimeout(120)
        _filtered(early, DEAF)  # the door's answer to its knock is lost
        early.setblocking(False)
        assert early.connect_ex(door.getsockname()) == errno.EINPROGRESS
        lock([door])
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.connect(door.getsockname())
        _filtered(early, None)  # the door answers again after a second
        with door.accept()[0] as inside:
            assert inside.getpeername() == early.getsockname()


DEAF = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A packet filter of one step: drop."""


def _filtered(connection: socket.socket, program: bytes | None) -> None:
    """Have the system drop what comes in on the connection, or no longer (socket(7), SO_ATTACH_FILTER)."""
    if program is None:
        connection.setsockopt(socket.SOL_SOCKET, 27, 0)
        return
    kept = ctypes.create_string_buffer(program)
    connection.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(kept)))


def test_the_connection_of_a_stream_is_not_used_again(redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    settings = {**fleet_settings(f"http://localhost:{port}", redis_url), "AUTH_MODE": "none"}
    worker = start_worker(tmp_path, port, settings)
    try:
        listening = posted(port, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        assert (listening["content-type"][:17], listening["connection"]) == (STREAM, "close")
        assert posted(port, "tools/list", {})["connection"] is None
    finally:
        worker.stop()


def posted(port: int, method: str, params: dict[str, Any]) -> Message:
    """The headers of the answer to a request of 2026-07-28."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": VERSION, "Mcp-Method": method}
    connection = http.client.HTTPConnection("localhost", port, timeout=120)
    with closing(connection):
        connection.request("POST", "/mcp", json.dumps(body), headers)
        with connection.getresponse() as answer:
            return answer.headers
