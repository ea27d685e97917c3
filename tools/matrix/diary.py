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

from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from switchboard.app import build
from switchboard.backends import Backend, Http, Sse, Stdio
from switchboard.cli.login import obtain_token
from switchboard.settings import load_settings
from tools.matrix import features, versatile
from tools.serving import serving


@dataclass(frozen=True)
class ClientSide:
    """A kind of client."""

    name: str
    mark: str
    title: str
    modern: bool
    sse: bool = False


@dataclass(frozen=True)
class BackendSide:
    """A kind of backend."""

    name: str
    title: str
    modern: bool


CLIENT_SIDES = (
    ClientSide("handshake", "H", "handshake era over Streamable HTTP", modern=False),
    ClientSide("modern", "M", "modern era over Streamable HTTP", modern=True),
    ClientSide("old", "S", "handshake era over HTTP+SSE", modern=False, sse=True),
)
BACKEND_SIDES = (
    BackendSide("stdio-handshake", "stdio, handshake", modern=False),
    BackendSide("stdio-modern", "stdio, modern", modern=True),
    BackendSide("http-handshake", "HTTP, handshake", modern=False),
    BackendSide("http-modern", "HTTP, modern", modern=True),
    BackendSide("sse", "HTTP+SSE, handshake", modern=False),
)

Pair = tuple[str, str]
Diary = dict[Pair, dict[str, str]]
"""(client_side, backend_side) → feature → what came of it."""

KEY = "a key for tests that is long enough to be one"
READY_S = 120.0
AS_EXPECTED = {"yes", "hole"}


def live(folder: Path) -> Diary:
    """Live all days at once; what came of each."""
    return asyncio.run(_live(folder))


async def _live(folder: Path) -> Diary:
    async with AsyncExitStack() as stack:
        backends = [await _backend(stack, backend_side, folder) for backend_side in BACKEND_SIDES]
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        app = build(load_settings(None, port=port, rate_limit=0, secret_key=KEY), backends)
        base = (await stack.enter_async_context(serving(app, app.drain, port))).url
        diary: Diary = {}
        tokens = {
            client_side: await asyncio.to_thread(obtain_token, base, user=client_side.name)
            for client_side in CLIENT_SIDES
        }
        async with asyncio.TaskGroup() as days:
            for client_side, backend_side in product(CLIENT_SIDES, BACKEND_SIDES):
                days.create_task(
                    _day(base, tokens[client_side], client_side, backend_side, folder, diary, client_side.name)
                )
        for client_side, backend_side in product(CLIENT_SIDES, BACKEND_SIDES):
            if not set(diary[client_side.name, backend_side.name].values()) <= AS_EXPECTED:
                # Fifteen clients, five backends and a worker in one process keep a busy machine waiting: once more.
                outcome = diary[client_side.name, backend_side.name]
                print(f"again: {client_side.name} at {backend_side.name}, after {outcome}", flush=True)
                await _day(
                    base, tokens[client_side], client_side, backend_side, folder, diary, f"{client_side.name}-again"
                )
        return diary


async def _backend(stack: AsyncExitStack, backend_side: BackendSide, folder: Path) -> Backend:
    place = folder / backend_side.name
    place.mkdir()
    era: Any = "modern" if backend_side.modern else "handshake"
    if backend_side.name.startswith("stdio"):
        transport: Any = Stdio(sys.executable, (str(versatile.__file__), backend_side.name, str(place)), era=era)
        return Backend(backend_side.name, transport)
    server = versatile.server(backend_side.name, place)
    app = server.sse_app() if backend_side.name == "sse" else server.streamable_http_app()
    base = (await stack.enter_async_context(serving(app))).url
    transport = Sse(f"{base}/sse") if backend_side.name == "sse" else Http((f"{base}/mcp",), era=era)
    return Backend(backend_side.name, transport)


async def _day(
    base: str, token: str, client_side: ClientSide, backend_side: BackendSide, folder: Path, diary: Diary, name: str
) -> None:
    person = features.Person()
    client = Client(
        _transport(base, token, client_side),
        mode="auto" if client_side.modern else "legacy",
        elicitation_callback=person.elicit,
        sampling_callback=person.sample,
        list_roots_callback=person.roots,
        logging_callback=person.log,
        message_handler=person.message,
        log_level="debug" if client_side.modern else None,
    )
    came = diary[client_side.name, backend_side.name] = {}
    async with client:
        await _offered(client, f"{backend_side.name}__echo")
        cell = features.Cell(client, person, backend_side.name, client_side.modern, folder / backend_side.name, name)
        for feature in features.FEATURES:
            came[feature.title] = await features.outcome(feature, cell, modern=backend_side.modern)


@asynccontextmanager
async def _transport(base: str, token: str, client_side: ClientSide) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {token}"}
    if client_side.sse:
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
