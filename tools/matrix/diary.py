"""All pairs of client and backend live side by side: every backend behind one worker, every client at it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import uvicorn
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from starlette.types import ASGIApp

from switchboard.app import build
from switchboard.backends import Backend, Http, Sse, Stdio
from switchboard.cli.login import obtain_token
from switchboard.settings import load_settings
from tools.matrix import features, versatile


@dataclass(frozen=True)
class North:
    """A kind of client."""

    name: str
    mark: str
    title: str
    modern: bool
    sse: bool = False


@dataclass(frozen=True)
class South:
    """A kind of backend."""

    name: str
    title: str
    modern: bool


NORTHS = (
    North("handshake", "H", "handshake era over Streamable HTTP", modern=False),
    North("modern", "M", "modern era over Streamable HTTP", modern=True),
    North("old", "S", "handshake era over HTTP+SSE", modern=False, sse=True),
)
SOUTHS = (
    South("stdio-handshake", "stdio, handshake", modern=False),
    South("stdio-modern", "stdio, modern", modern=True),
    South("http-handshake", "HTTP, handshake", modern=False),
    South("http-modern", "HTTP, modern", modern=True),
    South("sse", "HTTP+SSE, handshake", modern=False),
)

Pair = tuple[str, str]
Diary = dict[Pair, dict[str, str]]
"""(north, south) → feature → what came of it."""

KEY = "a key for tests that is long enough to be one"
READY_S = 120.0
AS_EXPECTED = {"yes", "hole"}


def live(folder: Path) -> Diary:
    """Live all days at once; what came of each."""
    return asyncio.run(_live(folder))


async def _live(folder: Path) -> Diary:
    async with AsyncExitStack() as stack:
        backends = [await _backend(stack, south, folder) for south in SOUTHS]
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        app = build(load_settings(None, port=port, rate_limit=0, secret_key=KEY), backends)
        base = await stack.enter_async_context(serving(app, app.drain, port))
        diary: Diary = {}
        tokens = {north: await asyncio.to_thread(obtain_token, base, user=north.name) for north in NORTHS}
        async with asyncio.TaskGroup() as days:
            for north, south in product(NORTHS, SOUTHS):
                days.create_task(_day(base, tokens[north], north, south, folder, diary, north.name))
        for north, south in product(NORTHS, SOUTHS):
            if not set(diary[north.name, south.name].values()) <= AS_EXPECTED:
                # Fifteen clients, five backends and a worker in one process keep a busy machine waiting: once more.
                print(f"again: {north.name} at {south.name}, after {diary[north.name, south.name]}", flush=True)
                await _day(base, tokens[north], north, south, folder, diary, f"{north.name}-again")
        return diary


async def _backend(stack: AsyncExitStack, south: South, folder: Path) -> Backend:
    place = folder / south.name
    place.mkdir()
    era: Any = "modern" if south.modern else "handshake"
    if south.name.startswith("stdio"):
        transport: Any = Stdio(sys.executable, (str(versatile.__file__), south.name, str(place)), era=era)
        return Backend(south.name, transport)
    server = versatile.server(south.name, place)
    app = server.sse_app() if south.name == "sse" else server.streamable_http_app()
    base = await stack.enter_async_context(serving(app))
    transport = Sse(f"{base}/sse") if south.name == "sse" else Http((f"{base}/mcp",), era=era)
    return Backend(south.name, transport)


async def _day(base: str, token: str, north: North, south: South, folder: Path, diary: Diary, name: str) -> None:
    person = features.Person()
    client = Client(
        _transport(base, token, north),
        mode="auto" if north.modern else "legacy",
        elicitation_callback=person.elicit,
        sampling_callback=person.sample,
        list_roots_callback=person.roots,
        logging_callback=person.log,
        message_handler=person.message,
        log_level="debug" if north.modern else None,
    )
    came = diary[north.name, south.name] = {}
    async with client:
        await _offered(client, f"{south.name}__echo")
        cell = features.Cell(client, person, south.name, north.modern, folder / south.name, name)
        for feature in features.FEATURES:
            came[feature.title] = await features.outcome(feature, cell, modern=south.modern)


@asynccontextmanager
async def _transport(base: str, token: str, north: North) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {token}"}
    if north.sse:
        async with sse_client(f"{base}/sse", headers=headers) as streams:
            yield streams
        return
    async with (
        create_mcp_http_client(headers=headers) as http,
        streamable_http_client(f"{base}/mcp", http_client=http) as streams,
    ):
        yield streams


async def _offered(client: Client, tool: str) -> None:
    async with asyncio.timeout(READY_S):
        while not any(one.name == tool for one in (await client.list_tools(cache_mode="refresh")).tools):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@asynccontextmanager
async def serving(app: ASGIApp, on_exit: Any = lambda: None, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on loopback; its base URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))
    running = asyncio.ensure_future(server._serve())  # `serve` would take over the test run's signal handlers
    while not server.started:
        assert not running.done(), "the server did not start"
        await asyncio.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        on_exit()
        server.should_exit = True
        await running
