"""One configuration with servers as people use them: from npm, PyPI, git, a file and URLs; two workers in strict turns.

Each is called by a client of each era. The registries' packages are pinned, and installed once for the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tools.fleet.workers import Fleet, running_fleet
from tools.matrix import features, versatile
from tools.matrix.features import Cell, Person
from tools.serving import serving

pytestmark = [
    pytest.mark.registry,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mcp"),
]

NPM = {
    "demo": ("@modelcontextprotocol/server-everything", "2026.8.31"),
    "memory": ("@modelcontextprotocol/server-memory", "2026.8.31"),
    "filesystem": ("@modelcontextprotocol/server-filesystem", "2026.8.31"),
    "thinking": ("@modelcontextprotocol/server-sequential-thinking", "2026.8.31"),
}
PYPI = {
    "time": ("mcp-server-time", "2026.10.19"),
    "fetch": ("mcp-server-fetch", "2026.10.24"),
    "git": ("mcp-server-git", "2026.10.19"),
}
OURS = {"cloned": False, "script": False, "handshake": False, "modern": True}
"""The servers that have every feature, and whether they speak the modern era."""

INSTALLED_S = 240.0
"""For all installs together, on a machine that is busy with other things."""


def git(*arguments: str, where: Path) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *author, *arguments], cwd=where, check=True, capture_output=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a repository, a script, and room for what the servers write."""
    if not os.environ.get("CI") and not _registries():
        pytest.skip("npm and PyPI cannot be reached from here")
    folder = tmp_path
    source = Path(versatile.__file__).read_text()
    for name in OURS:
        (folder / name).mkdir()
    (folder / "script.py").write_text(source)
    repository = folder / "repository"
    repository.mkdir()
    (repository / "versatile.py").write_text(source)
    git("init", "--quiet", "--initial-branch=main", where=repository)
    git("add", ".", where=repository)
    git("commit", "--quiet", "-m", "One", where=repository)
    return folder


def _registries() -> bool:
    """Whether their own clients reach them."""
    asked = (["npm", "ping"], [sys.executable, "-m", "pip", "index", "versions", "mcp-server-time"])
    try:
        done = [subprocess.run(one, capture_output=True, timeout=30, check=False).returncode for one in asked]
    except (OSError, subprocess.TimeoutExpired):
        return False
    return not any(done)


def configuration(folder: Path, urls: dict[str, str]) -> dict[str, Any]:
    arguments: dict[str, list[str]] = {
        "fetch": ["--ignore-robots-txt", "--allow-private-ips"],
    }
    rows: dict[str, Any] = {}
    for source, packages in (("npm", NPM), ("pypi", PYPI)):
        for name, (package, version) in packages.items():
            rows[name] = {
                "source": source,
                "package": package,
                "version": version,
                "args": arguments.get(name, []),
                "start_timeout": 120,
            }
    rows["memory"]["env"] = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
    rows["cloned"] = {
        "source": "git",
        "repository": str(folder / "repository"),
        "branch": "main",
        "command": "versatile.py",
        "args": ["cloned", str(folder / "cloned")],
    }
    rows["script"] = {"source": "local", "path": "script.py", "args": ["script", str(folder / "script")]}
    rows |= {era: {"url": urls[era], "era": era} for era in ("handshake", "modern")}
    return {"plugins": {"everything": {"enabled": False}}, "mcpServers": rows}


@dataclass
class Stage:
    """The fleet, and what its servers work on."""

    fleet: Fleet
    folder: Path
    page: str
    memory: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def client(self, era: str, person: Person) -> AsyncIterator[Client]:
        """An official client, with a user of its own."""
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(self.fleet.token, era)}"}
        async with create_mcp_http_client(headers=headers, timeout=httpx2.Timeout(60)) as http:
            client = Client(
                streamable_http_client(self.fleet.url, http_client=http),
                mode="legacy" if era == "handshake" else "auto",
                elicitation_callback=person.elicit,
                sampling_callback=person.sample,
                list_roots_callback=person.roots,
                logging_callback=person.log,
                message_handler=person.message,
                log_level="debug" if era == "modern" else None,
            )
            async with client:
                yield client


@asynccontextmanager
async def staged(place: Path) -> AsyncIterator[Stage]:
    """Two workers over all servers, those of URLs included."""
    async with (
        serving(versatile.server("handshake", place / "handshake").streamable_http_app()) as handshake,
        serving(versatile.server("modern", place / "modern").streamable_http_app()) as modern,
        serving(Starlette(routes=[Route("/page", _page)])) as pages,
    ):
        file = place / "switchboard.json"
        urls = {"handshake": f"{handshake.url}/mcp", "modern": f"{modern.url}/mcp"}
        file.write_text(json.dumps(configuration(place, urls)))
        fleet = running_fleet(place, env={"CONFIG_FILE": str(file), "CACHE_DIR": str(place / "cache")})
        try:
            yield Stage(await asyncio.to_thread(fleet.__enter__), place, f"{pages.url}/page")
        finally:
            await asyncio.to_thread(fleet.__exit__, None, None, None)


async def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("A page about switchboards.")


async def offered(client: Client) -> dict[str, str]:
    """Tool → the server that has it, once all servers are there."""
    wanted = {*NPM, *PYPI, *OURS}
    async with asyncio.timeout(INSTALLED_S):
        while True:
            names, cursor = list[str](), None
            while True:
                page = await client.list_tools(cursor=cursor, cache_mode="refresh")
                names += [tool.name for tool in page.tools]
                if (cursor := page.next_cursor) is None:
                    break
            found = {name: name.partition("__")[0] for name in names}
            if wanted <= set(found.values()):
                return found
            await asyncio.sleep(0.5)


def said(result: types.CallToolResult) -> str:
    words = " ".join(block.text for block in result.content if isinstance(block, types.TextContent))
    assert not result.is_error, words
    return words


async def test_every_public_server_is_offered_and_called_by_clients_of_both_eras(place: Path) -> None:
    async with staged(place) as s, asyncio.TaskGroup() as days:
        for era in ("handshake", "modern"):
            days.create_task(_day(s, era))


async def _day(s: Stage, era: str) -> None:
    person = Person(home=s.folder.as_uri())  # all that the filesystem server may touch
    async with s.client(era, person) as client:
        tools = await offered(client)
        assert {name for name in tools if tools[name] == "thinking"} == {"thinking__sequentialthinking"}
        await _small_servers(s, client, era)
        await _the_demo_server(client, person)
        for name, modern in OURS.items():
            cell = Cell(client, person, name, era == "modern", s.folder / name, era)
            came = {one.title: await features.outcome(one, cell, modern=modern) for one in features.FEATURES}
            expected = {one.title: "yes" if one.hole(modern=modern) is None else "hole" for one in features.FEATURES}
            wrong = {title: words for title, words in came.items() if words != expected[title]}
            assert not wrong, f"{era} client, {name}: {wrong}"


async def _small_servers(s: Stage, client: Client, era: str) -> None:
    def call(tool: str, **arguments: Any) -> Any:
        return client.call_tool(tool, arguments)

    entity = {"name": f"Ada {era}", "entityType": "person", "observations": ["counts"]}
    async with s.memory:  # the server reads its file, adds to it and writes it: of two calls at once one is lost
        said(await call("memory__create_entities", entities=[entity]))
    assert f"Ada {era}" in said(await call("memory__read_graph"))
    file = s.folder / f"{era}.txt"
    said(await call("filesystem__write_file", path=str(file), content="written"))
    assert file.read_text() == "written"
    assert "written" in said(await call("filesystem__read_text_file", path=str(file)))
    thought = {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
    assert "thoughtNumber" in said(await call("thinking__sequentialthinking", **thought))
    assert "UTC" in said(await call("time__get_current_time", timezone="UTC"))
    assert "about switchboards" in said(await call("fetch__fetch", url=s.page))
    assert "nothing to commit" in said(await call("git__git_status", repo_path=str(s.folder / "repository")))


async def _the_demo_server(client: Client, person: Person) -> None:
    def call(tool: str, **arguments: Any) -> Any:
        return client.call_tool(f"demo__{tool}", arguments)

    assert "hi" in said(await call("echo", message="hi"))
    structured = await call("get-structured-content", location="Chicago")
    assert structured.structured_content["conditions"]
    await client.call_tool(
        "demo__trigger-long-running-operation",
        {"duration": 0.2, "steps": 2},
        progress_callback=person.progress,
    )
    assert [step[0] for step in person.steps] == [1.0, 2.0]
    person.steps.clear()
    assert "hello=4" in said(await call("trigger-sampling-request", prompt="hello"))
    assert "accept" in said(await call("trigger-elicitation-request"))
    assert person.home in said(await call("get-roots-list"))
    prompt = await client.get_prompt("demo__args-prompt", {"city": "Oslo"})
    assert "Oslo" in getattr(prompt.messages[0].content, "text", "")
    template = next(
        one.uri_template
        for one in (await client.list_resource_templates()).resource_templates
        if one.uri_template.startswith("demo://resource/dynamic/text")
    )
    read = await client.read_resource(template.replace("{resourceId}", "3"))
    assert "3" in getattr(read.contents[0], "text", "")
