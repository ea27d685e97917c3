"""A cache folder, and small servers to bring from somewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from switchboard.config import Configuration, ServerSection
from switchboard.sources import Launch, SourceContext

NODE_SERVER = r"""#!/usr/bin/env node
const INFO = { name: "n", version: "1" };
let rest = "";
process.stdin.on("data", (chunk) => {
  rest += chunk;
  let end;
  while ((end = rest.indexOf("\n")) >= 0) {
    const message = JSON.parse(rest.slice(0, end));
    rest = rest.slice(end + 1);
    const results = {
      initialize: { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo: INFO },
      "tools/list": { tools: [{ name: "node_tool", inputSchema: { type: "object" } }] },
    };
    if (message.id === undefined) continue;
    const result = results[message.method];
    const answer = result ? { result } : { error: { code: -32601, message: "Method not found" } };
    process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id: message.id, ...answer }) + "\n");
  }
});
"""
"""An MCP server without a dependency."""

PYTHON_SERVER = """
import json, os, sys


def main():
    for line in sys.stdin:
        message = json.loads(line)
        results = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "p", "version": "1"},
            },
            "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]},
        }
        if "id" not in message:
            continue
        result = results.get(message["method"])
        answer = {"result": result} if result else {"error": {"code": -32601, "message": "Method not found"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


TOOLS = ["python_tool"]

if __name__ == "__main__":
    main()
"""
"""Likewise."""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny-server"
version = "1.2.3"
"""

BACKEND = '''
"""A build backend without a dependency, so that nothing is fetched to build a test's project."""
import zipfile

INFO = "tiny_server-1.2.3.dist-info"
FILES = {
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: tiny-server\\nVersion: 1.2.3\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\\ntiny-server = tiny_server:main\\n",
}


def _wheel(directory, files):
    name = "tiny_server-1.2.3-py3-none-any.whl"
    record = "".join(f"{each},,\\n" for each in [*files, f"{INFO}/RECORD"])
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        for each, text in {**files, f"{INFO}/RECORD": record}.items():
            wheel.writestr(each, text)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open("tiny_server.py") as code:
        return _wheel(wheel_directory, {"tiny_server.py": code.read(), **FILES})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    import os

    return _wheel(wheel_directory, {"tiny_server.pth": os.getcwd() + "\\n", **FILES})
'''


@dataclass
class Heard:
    """What sources said while they worked."""

    context: SourceContext
    lines: list[str] = field(default_factory=list)


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    """A context with an empty cache, and what is said on it."""
    lines: list[str] = []
    context = SourceContext(
        tmp_path / "cache", dict(os.environ), tmp_path, say=lambda server, line: lines.append(f"{server}: {line}")
    )
    return Heard(context, lines)


@pytest.fixture
def section() -> Callable[..., ServerSection]:
    """`section(source=…, …)` as the configuration makes it."""

    def made(**row: Any) -> ServerSection:
        return Configuration.model_validate({"mcpServers": {"x": row}}).servers["x"]

    return made


@pytest.fixture
def tools_of() -> Callable[..., Any]:
    """`await tools_of(launch)` starts it, talks MCP to it, and gives the names of its tools."""

    async def asked(launch: Launch) -> list[str]:
        parameters = StdioServerParameters(
            command=launch.command,
            args=list(launch.args),
            env={"PATH": os.environ["PATH"], **launch.env},
            cwd=launch.cwd,
        )
        async with Client(stdio_client(parameters), mode="legacy") as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    return asked


@pytest.fixture
def python_project(tmp_path: Path) -> Path:
    """A Python project with a server, and nothing to fetch."""
    folder = tmp_path / "python-project"
    folder.mkdir()
    for name, text in (("pyproject.toml", PYPROJECT), ("backend.py", BACKEND), ("tiny_server.py", PYTHON_SERVER)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def node_project(tmp_path: Path) -> Path:
    """A Node project with a server, and nothing to fetch."""
    folder = tmp_path / "node-project"
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "tiny-node", "version": "4.5.6", "bin": "server.js"}')
    (folder / "server.js").write_text(NODE_SERVER)
    return folder


@pytest.fixture
def repository(node_project: Path) -> Callable[..., str]:
    """`repository("add", "-A")` runs git in a repository made of the Node project."""

    def git(*words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", *who, "-C", str(node_project), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", "-A")
    git("commit", "--quiet", "-m", "One")
    return git
