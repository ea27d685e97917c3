"""The table of drivers: which client, in which version, by which command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
MODULES: Final = HERE / "node_modules"
NODE: Final = str(MODULES / ".bin" / "node")
FASTMCP: Final = HERE.parents[1] / ".cache" / "fastmcp" / "bin" / "python"
"""Of an environment with what fastmcp.txt pins."""


@dataclass(frozen=True)
class Driver:
    """One client.

    Args:
        title: as people call it.
        version: what is installed.
        command: what is started, before the URL.
        at_once: how many scenarios it may be in at the same time.
        limit_s: seconds that it may take for one, those that it waits among them.
    """

    name: str
    title: str
    version: Callable[[], str]
    command: Sequence[str]
    at_once: int = 2
    limit_s: int = 90


def _of_npm(package: str) -> Callable[[], str]:
    return lambda: str(json.loads((MODULES / package / "package.json").read_text())["version"])


def _of_vscode() -> str:
    """As VS Code's own product.js says."""
    product = "@codingame/monaco-vscode-api/vscode/vs/platform/product/common/product"
    code = f"import('{product}').then((found) => console.log(found.default.version))"
    return subprocess.run([NODE, "-e", code], check=True, capture_output=True, text=True, cwd=HERE).stdout.strip()


def _of_fastmcp() -> str:
    code = "from importlib.metadata import version; print(version('fastmcp'))"
    return subprocess.run([str(FASTMCP), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _python(module: str, *arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", f"tools.lab.{module}", *arguments)


_INSPECTOR: Final = _of_npm("@modelcontextprotocol/inspector")
_TYPESCRIPT: Final = str(HERE / "typescript_sdk.mjs")

DRIVERS: Final[Mapping[str, Driver]] = {
    each.name: each
    for each in (
        Driver("python-sdk", "official Python SDK", lambda: version("mcp"), _python("python_sdk")),
        Driver(
            "typescript-sdk-1",
            "official TypeScript SDK, major 1",
            _of_npm("@modelcontextprotocol/sdk"),
            (NODE, _TYPESCRIPT, "1"),
        ),
        Driver(
            "typescript-sdk-2",
            "official TypeScript SDK, major 2",
            _of_npm("@modelcontextprotocol/client"),
            (NODE, _TYPESCRIPT, "2"),
        ),
        Driver("inspector-cli", "MCP Inspector, command line", _INSPECTOR, _python("inspector_cli", NODE)),
        Driver("inspector-web", "MCP Inspector, page", _INSPECTOR, _python("inspector_web", NODE), 2, 240),
        Driver("fastmcp", "FastMCP client", _of_fastmcp, (str(FASTMCP), "-m", "tools.lab.fastmcp_client")),
        Driver("vscode", "VS Code, in part", _of_vscode, (NODE, str(HERE / "vscode.mjs"))),
        Driver("mcp-remote", "mcp-remote", _of_npm("mcp-remote"), _python("mcp_remote", NODE)),
    )
}
