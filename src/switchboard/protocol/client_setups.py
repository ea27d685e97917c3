"""How MCP clients are told of a remote server: where each keeps its configuration, and in which shape.

The shapes are what the clients' own documentation states. A client that speaks Streamable HTTP is given the URL; one
that only starts programs is given `switchboard connect URL`, which signs in and passes everything on.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClientSetup:
    """One client."""

    title: str
    files: Mapping[str, str]
    """`sys.platform` → its configuration file; `*` for any other. `~` and `%APPDATA%` are the person's."""

    section: str
    """The key below which servers stand, by name."""

    row: Callable[[str, Sequence[str]], Row]
    """`(url, the command that bridges to it)` → what stands there."""

    link: Callable[[str, str], str] | None = None
    """`(name, url)` → a link that adds the server, if the client has such links."""

    command: Callable[[str, str], str] | None = None
    """`(name, url)` → a shell command of the client's own that adds the server, if it has one."""

    def file(self, platform: str = sys.platform) -> Path:
        """Its configuration file on this machine."""
        written = self.files.get(platform, self.files["*"])
        roaming = os.environ.get("APPDATA") or "~/AppData/Roaming"
        return Path(written.replace("%APPDATA%", roaming)).expanduser()

    def document(self, name: str, url: str, bridge: Sequence[str]) -> dict[str, Any]:
        """The smallest configuration that has the server."""
        return {self.section: {name: self.row(url, bridge)}}

    def text(self, name: str, url: str, bridge: Sequence[str]) -> str:
        """That configuration as its file has it."""
        if not self.files["*"].endswith(".toml"):
            return json.dumps(self.document(name, url, bridge), indent=2, ensure_ascii=False) + "\n"
        rows = (f"{key} = {json.dumps(value)}\n" for key, value in self.row(url, bridge).items())
        return f"[{self.section}.{name}]\n{''.join(rows)}"


def _typed(url: str, _bridge: Sequence[str]) -> Row:
    return {"type": "http", "url": url}


def _url(url: str, _bridge: Sequence[str]) -> Row:
    return {"url": url}


def _bridged(_url: str, bridge: Sequence[str]) -> Row:
    return {"command": bridge[0], "args": list(bridge[1:])}


def _vscode(name: str, url: str) -> str:
    return f"vscode:mcp/install?{quote(json.dumps({'name': name, 'type': 'http', 'url': url}), safe='')}"


def _cursor(name: str, url: str) -> str:
    config = base64.b64encode(json.dumps({"url": url}).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?name={quote(name, safe='')}&config={quote(config, safe='')}"


def _added_by(program: str) -> Callable[[str, str], str]:
    return lambda name, url: f"{program} {name} {shlex.quote(url)}"


def _vscode_command(name: str, url: str) -> str:
    return f"code --add-mcp {shlex.quote(json.dumps({'name': name, 'type': 'http', 'url': url}))}"


CLIENTS: Final[Mapping[str, ClientSetup]] = {
    "claude": ClientSetup(
        "Claude Desktop",
        {
            "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
            "win32": "%APPDATA%/Claude/claude_desktop_config.json",
            "*": "~/.config/Claude/claude_desktop_config.json",
        },
        "mcpServers",
        _bridged,
    ),
    "claude-code": ClientSetup(
        "Claude Code",
        {"*": "~/.claude.json"},
        "mcpServers",
        _typed,
        command=_added_by("claude mcp add --transport http"),
    ),
    "vscode": ClientSetup(
        "VS Code",
        {
            "darwin": "~/Library/Application Support/Code/User/mcp.json",
            "win32": "%APPDATA%/Code/User/mcp.json",
            "*": "~/.config/Code/User/mcp.json",
        },
        "servers",
        _typed,
        _vscode,
        _vscode_command,
    ),
    "cursor": ClientSetup("Cursor", {"*": "~/.cursor/mcp.json"}, "mcpServers", _url, _cursor),
    "windsurf": ClientSetup(
        "Windsurf",
        {"*": "~/.codeium/windsurf/mcp_config.json"},
        "mcpServers",
        lambda url, _bridge: {"serverUrl": url},
    ),
    "gemini": ClientSetup(
        "Gemini CLI",
        {"*": "~/.gemini/settings.json"},
        "mcpServers",
        lambda url, _bridge: {"httpUrl": url},
        command=_added_by("gemini mcp add --transport http"),
    ),
    "codex": ClientSetup(
        "Codex",
        {"*": "~/.codex/config.toml"},
        "mcp_servers",
        _url,
        command=lambda name, url: f"codex mcp add {name} --url {shlex.quote(url)}",
    ),
    "opencode": ClientSetup(
        "opencode",
        {"*": "~/.config/opencode/opencode.json"},
        "mcp",
        lambda url, _bridge: {"type": "remote", "url": url, "enabled": True},
    ),
    "lm-studio": ClientSetup("LM Studio", {"*": "~/.lmstudio/mcp.json"}, "mcpServers", _url),
}
"""The clients by the names of `switchboard install --client NAME`."""
