"""One way to start Switchboard, tried: in a folder that was empty, with an environment of PATH and HOME alone.

A trial is right when the server becomes ready, serves its first page, gives a token to a client that goes through the
real flow, answers that client's calls, and ends with 0 on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from switchboard.cli.login import obtain_token
from tools.fleet.children import answers, free_port, start
from tools.fleet.workers import offered
from tools.release.artefacts import PYTHONS, Way

START_TIMEOUT_S: Final = 180
"""The first start may unpack or download."""

ANSWER_TIMEOUT_S: Final = 60
BACKEND: Final = '''"""A server on stdio."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("hello")


@server.tool()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}!"


server.run()
'''
PLUGIN: Final = '''"""A plugin, for a process of its own."""

import os

from mcp.server.mcpserver import MCPServer

from switchboard.plugins import Plugin

server = MCPServer("apart")


@server.tool()
def parent() -> int:
    """Whose child it is."""
    return os.getppid()


plugin = Plugin("apart", "0.1.0", server)
'''
CONFIGURATION: Final = json.dumps(
    {
        "plugins": {"apart": {"isolation": "process"}},
        "mcpServers": {"hello": {"source": "local", "path": "./server.py"}},
    }
)


class TrialFailed(AssertionError):
    """It does not do what a release must; the message says what, and has the end of its log."""


@contextmanager
def serving(
    way: Way,
    folder: Path,
    *options: str,
    settings: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start it in `folder`, which is made and holds `files` alone; its HOME is beside that. Gives the base URL.

    Raises:
        TrialFailed: it did not end with 0.
        NotReady: it did not become ready.
    """
    home, port = folder.parent / "home", free_port()
    for each in (home, folder):
        each.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    environment = {"PATH": PYTHONS, "HOME": str(home), **way.environment, **(settings or {})}
    command = [*way.command, "serve", "--port", str(port), *options]
    child = start(f"serve-{folder.name}", command, home.parent, environment, cwd=folder)
    try:
        child.wait_until(lambda: answers(port, "/readyz"), START_TIMEOUT_S)
        yield f"http://localhost:{port}"
    finally:
        code = child.stop()
    if code != 0:
        raise TrialFailed(f"{way.name}: ended with {code}\n{child.tail()}")


async def calls(base: str, workers: int = 1, backend: bool = False) -> None:
    """Have a client look at the first page, and call until each of so many workers answered one call.

    Args:
        backend: call the tools of the child process on stdio and of the plugin in a process of its own instead.

    Raises:
        TrialFailed: what came is not what should.
    """
    token = await asyncio.to_thread(obtain_token, base, user="alice")
    async with (
        asyncio.timeout(ANSWER_TIMEOUT_S),
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_TIMEOUT_S) as http,
    ):
        page = await http.get(f"{base}/")
        if page.status_code != HTTPStatus.OK or "</html>" not in page.text:
            raise TrialFailed(f"the first page: {page.status_code} {page.text[:200]}")
        async with Client(streamable_http_client(f"{base}/mcp", http_client=http)) as client:
            if backend:
                await offered(client, "hello__greet")
                said = (await client.call_tool("hello__greet", {"name": "stdio"})).structured_content
                if said != {"result": "Hello, stdio!"}:
                    raise TrialFailed(f"the backend said {said}")
                await offered(client, "apart__parent")
                said = (await client.call_tool("apart__parent", {})).structured_content
                if not said or not said["result"]:
                    raise TrialFailed(f"the plugin said {said}")
                return
            await client.call_tool("echo", {"message": "hello"})
    seen: set[str] = set()
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while len(seen) < workers:
            async with httpx2.AsyncClient() as once:  # a connection of its own: the system chooses the worker
                seen.add((await once.get(f"{base}/readyz")).json()["worker"])


def tried(way: Way, folder: Path, redis_url: str) -> Iterator[str]:
    """Try a way in all that it should do; one line for each thing that it did.

    Raises:
        TrialFailed, NotReady: it does not; with the end of its log.
    """
    began = time.monotonic()
    with serving(way, folder / "one") as base:
        ready = time.monotonic() - began
        asyncio.run(calls(base))
    yield f"served in an empty folder with PATH and HOME alone in its environment; ready after {ready:.0f} s"
    shared = {"REDIS_URL": redis_url, "SECRET_KEY": "of-this-trial-of-this-trial-of-this-trial", "WORKERS": "2"}
    with serving(way, folder / "two", settings=shared) as base:
        asyncio.run(calls(base, workers=2))
    yield "served with WORKERS=2 on one Redis; both workers answered"
    files = {"server.py": BACKEND, "plugins/apart.py": PLUGIN, "switchboard.json": CONFIGURATION}
    options = ("--config", "switchboard.json", "--plugins", "plugins")
    with serving(way, folder / "three", *options, files=files) as base:
        asyncio.run(calls(base, backend=True))
    yield "called a tool of a child process on stdio, and one of a plugin in a process of its own"
