"""The page at `/`: what this server is, and how each client is told of it, for whoever opens its address in a browser.

An MCP endpoint that a browser opens (a GET that wants HTML, and no event stream) answers with one line and the way to
that page, instead of a 401 that says nothing to a person.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.pages.renderer import Pages
from switchboard.protocol.client_setups import CLIENTS, ClientSetup

SELECTING: Final = frozenset({"preset", "tags"})
"""What of an endpoint's query belongs to its address: the selection of tools that it shows."""

_LABEL: Final = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Way:
    """How one client is told: what to do, what to copy for it; and a link that opens the client to add the server."""

    title: str
    steps: Mapping[str, str]
    """What to do → what to copy."""
    link: str = ""


class Landing:
    """The page of one endpoint.

    Args:
        endpoint: the public URL of the MCP endpoint.
        version: of the software.
        signs_in: whether clients have to sign in.
    """

    def __init__(self, endpoint: str, version: str, *, signs_in: bool) -> None:
        self._endpoint = endpoint
        self._signs_in = signs_in
        self._home = endpoint.removesuffix("mcp")
        folder = Path(__file__).parent / "templates"
        self._pages = Pages(folder, f"Switchboard {version}", {"copying": "copying.js"})

    async def page(self, request: Request) -> Response:
        """How to connect; for the selection that the query names, if it names one."""
        url = self._selected(request.scope["query_string"])
        return self._pages.show(
            "landing.html", url=url, name=name_of(url), ways=list(ways(url)), signs_in=self._signs_in
        )

    async def visit(self, request: Request) -> Response:
        """What a browser is told that opened the endpoint itself."""
        home = self._home + self._selected(request.scope["query_string"]).removeprefix(self._endpoint)
        return self._pages.show("endpoint.html", url=self._endpoint, home=home)

    def _selected(self, query: bytes) -> str:
        kept = [(key, value) for key, value in parse_qsl(query.decode("latin-1")) if key in SELECTING]
        return f"{self._endpoint}?{urlencode(kept, safe=',!')}" if kept else self._endpoint


class ForBrowsers:
    """Stands before an endpoint: a browser that opens it is told what it is."""

    def __init__(self, app: ASGIApp, landing: Landing) -> None:
        self._app = app
        self._landing = landing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and opened_by_browser(scope):
            answer = await self._landing.visit(Request(scope, receive))
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def opened_by_browser(scope: Scope) -> bool:
    """Whether a person opened this address: a GET that wants HTML, and neither brings a token nor wants a stream."""
    if scope["method"] not in ("GET", "HEAD"):
        return False
    found = dict(scope["headers"])
    accept = found.get(b"accept", b"").lower()
    return b"text/html" in accept and b"text/event-stream" not in accept and b"authorization" not in found


def name_of(url: str) -> str:
    """What clients may call the server: its host's first label that says something."""
    labels = (urlsplit(url).hostname or "").split(".")
    label = next((each for each in labels if each not in ("www", "mcp", "api")), "")
    name = _LABEL.sub("-", label.lower()).strip("-")
    return "switchboard" if not name or name.isdigit() or name == "localhost" else name


def ways(url: str) -> Iterator[Way]:
    """How each client is told of the server at `url`."""
    name, quoted = name_of(url), shlex.quote(url)
    yield Way(
        "Claude, ChatGPT and others on the web", {"Add a custom connector in their settings, with this URL:": url}
    )
    inspector = f"npx @modelcontextprotocol/inspector {quoted}"
    yield Way("MCP Inspector", {"Start it, and choose Streamable HTTP:": inspector})
    for setup in CLIENTS.values():
        written = setup.text(name, url, ("switchboard", "connect", url)).rstrip()
        command = {} if setup.command is None else {"In a terminal:": setup.command(name, url)}
        link = "" if setup.link is None else setup.link(name, url)
        yield Way(setup.title, {**command, f"In {_files(setup)}:": written}, link)
    bridged = {"mcpServers": {name: {"command": "npx", "args": ["-y", "mcp-remote", url]}}}
    yield Way("mcp-remote", {"For clients that only start programs:": json.dumps(bridged, indent=2)})
    install = f"switchboard install --client cursor --url {quoted}"
    yield Way("switchboard", {"Writes each of these files, and keeps a backup:": install})
    yield Way("curl", {"With a token in $TOKEN:": _curl(quoted)})
    yield Way("Python", {"With the official SDK (pip install mcp):": _python(url)})


def _files(setup: ClientSetup) -> str:
    called = {"darwin": "macOS", "win32": "Windows", "*": "Linux"}
    if len(setup.files) == 1:
        return setup.files["*"]
    return "; ".join(f"{setup.files[each]} ({title})" for each, title in called.items())


def _curl(quoted: str) -> str:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": envelope}}
    sent = {
        "Authorization": "Bearer $TOKEN",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    headers = "".join(f' \\\n  -H "{name}: {value}"' for name, value in sent.items())
    return f"curl {quoted}{headers} \\\n  -d {shlex.quote(json.dumps(body))}"


def _python(url: str) -> str:
    return (
        "import asyncio\n"
        "from mcp import Client\n\n"
        "async def main():\n"
        f"    async with Client({json.dumps(url)}) as client:\n"
        "        print(await client.list_tools())\n\n"
        "asyncio.run(main())"
    )
