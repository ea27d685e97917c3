"""Files of other programs, as their documentation shows them, and what is taken over of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Client:
    """A program's file, and what must come of it."""

    name: str
    file: str
    text: str
    servers: dict[str, Any]
    left_out: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    told: str = ""
    """What the page says of the program."""


CLIENTS = [
    Client(
        "Claude Desktop",
        "claude_desktop_config.json",
        """{"mcpServers": {"fs": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv"]}},
            "coworkScheduledTasksEnabled": true, "preferences": {"sidebarMode": "chat"}}""",
        {"fs": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv"]}},
        ["not about servers: coworkScheduledTasksEnabled, preferences"],
        told="also as it is, as `CONFIG_FILE`",
    ),
    Client(
        "Claude Code",
        ".mcp.json",
        """{"mcpServers": {
            "api": {"type": "http", "url": "${API:-https://a.example}/mcp", "headers": {"K": "Bearer ${KEY}"},
                    "timeout": 600000, "headersHelper": "/opt/headers.sh"},
            "old": {"type": "sse", "url": "https://b.example/sse"},
            "live": {"type": "ws", "url": "wss://c.example"},
            "db": {"type": "stdio", "command": "npx", "args": ["db"], "env": {"CACHE": "${CLAUDE_PLUGIN_ROOT}/c"}}}}""",
        {
            "api": {
                "type": "http",
                "url": "${API:-https://a.example}/mcp",
                "headers": {"K": "Bearer ${KEY}"},
                "timeout": 600.0,
            },
            "old": {"type": "sse", "url": "https://b.example/sse"},
        },
        [
            "api.headersHelper: has no place here",
            "live: it is reached over WebSocket, which the gateway does not speak to backends",
            "db: ${CLAUDE_PLUGIN_ROOT} is known to an editor only; write the path or value itself",
        ],
        ["api: timeout 600000 was read as milliseconds: 600 s"],
        told="`ws` rows are left out; `timeout` is in milliseconds",
    ),
    Client(
        "Claude Code, of a person",
        ".claude.json",
        """{"numStartups": 3, "mcpServers": {"a": {"type": "stdio", "command": "a", "args": [], "env": {}}},
            "projects": {"/srv/x": {"mcpServers": {"b": {"command": "b"}}}, "/srv/y": {"mcpServers": {}}}}""",
        {"a": {"type": "stdio", "command": "a", "args": [], "env": {}}, "b": {"command": "b"}},
        ["not about servers: numStartups"],
        told="servers of projects too",
    ),
    Client(
        "Cursor",
        ".cursor/mcp.json",
        """{"mcpServers": {
            "tools": {"command": "node", "args": ["${workspaceFolder}/server.js", "${userHome}"], "envFile": ".env",
                      "env": {"NAME": "${workspaceFolderBasename}", "API_KEY": "${env:API_KEY}"}},
            "web": {"url": "https://a.example/mcp", "headers": {"X": "${env:X}"}, "auth": {"CLIENT_ID": "c"}}}}""",
        {
            "tools": {
                "command": "node",
                "args": ["{folder}/server.js", "${userHome}"],
                "env": {"NAME": "{name}", "API_KEY": "${env:API_KEY}"},
                "env_file": "{folder}/.cursor/.env",
            },
            "web": {"url": "https://a.example/mcp", "headers": {"X": "${env:X}"}},
        },
        ["web.auth: has no place here"],
        told="`${workspaceFolder}` is the folder that `.cursor` is in; `envFile` is read",
    ),
    Client(
        "VS Code",
        ".vscode/mcp.json",
        """{
          // as the editor writes it
          "inputs": [{"type": "promptString", "id": "perplexity-key", "description": "Perplexity API key"}],
          "servers": {
            "perplexity": {"type": "stdio", "command": "npx", "args": ["-y", "server-perplexity-ask"],
                           "env": {"PERPLEXITY_API_KEY": "${input:perplexity-key}"}, "sandboxEnabled": true,
                           "sandbox": {"network": {"allowedDomains": []}}, "dev": {"watch": "src/**"}},
            "github": {"type": "http", "url": "https://a.example/mcp/", "gallery": true, "version": "1.0.0"},
          },
        }""",
        {
            "perplexity": {
                "type": "stdio",
                "command": "npx",
                "args": ["-y", "server-perplexity-ask"],
                "env": {"PERPLEXITY_API_KEY": "${PERPLEXITY_KEY}"},
            },
            "github": {"type": "http", "url": "https://a.example/mcp/"},
        },
        [
            "perplexity.sandboxEnabled: has no place here",
            "perplexity.sandbox: has no place here",
            "perplexity.dev: has no place here",
            "github.gallery: is that program's own, and without an effect here",
            "github.version: has no place here",
        ],
        ["perplexity: set the variable PERPLEXITY_KEY, which the editor asked for: Perplexity API key"],
        told="comments and last commas; `${input:x}` becomes a variable that you set; no sandbox",
    ),
    Client(
        "VS Code, in settings.json",
        "settings.json",
        """{"editor.tabSize": 2, "mcp": {"inputs": [], "servers": {"a": {"command": "a"}}}}""",
        {"a": {"command": "a"}},
        ["not about servers: editor.tabSize"],
    ),
    Client(
        "Roo Code, Cline",
        ".roo/mcp.json",
        """{"mcpServers": {"a": {"command": "node", "args": ["a.js"], "cwd": "/srv", "timeout": 1800, "disabled": false,
            "alwaysAllow": ["x"], "watchPaths": ["/srv"], "disabledTools": ["drop"], "env": {"K": "${env:K}"}},
            "b": {"type": "streamable-http", "url": "https://b.example/mcp", "autoApprove": []}}}""",
        {
            "a": {
                "command": "node",
                "args": ["a.js"],
                "cwd": "/srv",
                "timeout": 1800,
                "enabled": True,
                "deny": ["tools:drop"],
                "env": {"K": "${env:K}"},
            },
            "b": {"type": "http", "url": "https://b.example/mcp"},
        },
        [
            "a.alwaysAllow: is that program's own, and without an effect here",
            "a.watchPaths: has no place here",
            "b.autoApprove: is that program's own, and without an effect here",
        ],
        told="`disabledTools` becomes `deny`",
    ),
    Client(
        "Windsurf",
        "mcp_config.json",
        """{"mcpServers": {"a": {"serverUrl": "https://a.example/mcp", "headers": {"K": "${env:K}"},
            "disabled": true}}}""",
        {"a": {"url": "https://a.example/mcp", "headers": {"K": "${env:K}"}, "enabled": False}},
    ),
    Client(
        "Zed",
        "settings.json",
        """{"theme": "One", "context_servers": {
            "custom": {"source": "custom", "command": "a", "args": ["b"], "env": {}, "enabled": true},
            "older": {"command": {"path": "a", "args": ["b"], "env": {"K": "v"}}, "settings": {}},
            "bundled": {"source": "extension", "settings": {"x": 1}},
            "web": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer sk-0123456789abc"},
                    "timeout": 30},
          }, // last
        }""",
        {
            "custom": {"command": "a", "args": ["b"], "env": {}, "enabled": True},
            "older": {"command": "a", "args": ["b"], "env": {"K": "v"}},
            "web": {
                "url": "https://a.example/mcp",
                "headers": {"Authorization": "Bearer sk-0123456789abc"},
                "timeout": 30,
            },
        },
        [
            "older.settings: has no place here",
            "bundled: it is a part of that program, and no server that can be started or reached",
            "not about servers: theme",
        ],
        ["web.headers.Authorization: a secret in clear; write ${AUTHORIZATION} and set that variable"],
        told="servers that come with an extension are left out",
    ),
    Client(
        "Codex",
        "config.toml",
        """model = "x"
[mcp_servers.docs]
command = "npx"
args = ["-y", "docs"]
env_vars = ["DOCS_KEY"]
startup_timeout_sec = 20
tool_timeout_sec = 45
enabled_tools = ["search"]
disabled_tools = ["drop"]
required = true
[mcp_servers.figma]
url = "https://a.example/mcp"
bearer_token_env_var = "FIGMA_TOKEN"
http_headers = { "X-Region" = "eu" }
env_http_headers = { "X-Org" = "ORG" }
enabled = false
""",
        {
            "docs": {
                "command": "npx",
                "args": ["-y", "docs"],
                "env": {"DOCS_KEY": "${DOCS_KEY}"},
                "start_timeout": 20,
                "timeout": 45,
                "allow": ["tools:search"],
                "deny": ["tools:drop"],
            },
            "figma": {
                "url": "https://a.example/mcp",
                "headers": {"X-Region": "eu", "Authorization": "Bearer ${FIGMA_TOKEN}", "X-Org": "${ORG}"},
                "enabled": False,
            },
        },
        ["docs.required: has no place here", "not about servers: model"],
        ["docs: set the variable DOCS_KEY", "figma: set the variable FIGMA_TOKEN", "figma: set the variable ORG"],
        told="variables that the file only names become `${NAME}`",
    ),
    Client(
        "Gemini CLI",
        ".gemini/settings.json",
        """{"mcpServers": {
            "py": {"command": "python", "args": ["-m", "x"], "env": {"K": "$MY_KEY", "L": "${OTHER}"}, "timeout": 15000,
                   "trust": true, "includeTools": ["a"], "excludeTools": ["b"]},
            "http": {"httpUrl": "https://a.example/mcp", "timeout": 5000},
            "sse": {"url": "https://b.example/sse"}},
            "mcp": {"excluded": ["sse"]}, "ui": {"theme": "x"}}""",
        {
            "py": {
                "command": "python",
                "args": ["-m", "x"],
                "env": {"K": "${MY_KEY}", "L": "${OTHER}"},
                "timeout": 15.0,
                "allow": ["tools:a"],
                "deny": ["tools:b"],
            },
            "http": {"url": "https://a.example/mcp", "timeout": 5.0},
            "sse": {"url": "https://b.example/sse", "type": "sse", "enabled": False},
        },
        ["py.trust: has no place here", "not about servers: ui"],
        [
            "py: timeout 15000 was read as milliseconds: 15 s",
            "http: timeout 5000 was read as milliseconds: 5 s",
        ],
        told="`timeout` is in milliseconds; `$NAME` becomes `${NAME}`; a `url` is SSE there, an `httpUrl` is not",
    ),
    Client(
        "opencode",
        "opencode.jsonc",
        """{"$schema": "https://opencode.ai/config.json", "mcp": {
            "local": {"type": "local", "command": ["npx", "-y", "x"], "environment": {"K": "{env:K}"}, "enabled": true,
                      "timeout": 5000},
            "far": {"type": "remote", "url": "https://a.example/mcp",
                    "headers": {"Authorization": "Bearer {file:~/.token}"}, "oauth": {}},
          }, "tools": {"local_drop": false, "far*": false, "webfetch": false}, }""",
        {
            "local": {
                "command": "npx",
                "args": ["-y", "x"],
                "env": {"K": "${K}"},
                "enabled": True,
                "timeout": 5.0,
                "deny": ["tools:drop"],
            },
            "far": {
                "url": "https://a.example/mcp",
                "headers": {"Authorization": "Bearer ${AUTHORIZATION}"},
                "deny": ["tools:*"],
            },
        },
        ["far.oauth: has no place here", "tools.webfetch: is off, but of none of the servers"],
        [
            "local: timeout 5000 was read as milliseconds: 5 s",
            "local: set the variable K",
            "far: set the variable AUTHORIZATION to what ~/.token holds",
        ],
        told="`timeout` is in milliseconds; `tools` that are off become `deny`",
    ),
    Client(
        "Goose",
        "config.yaml",
        """GOOSE_PROVIDER: x
extensions:
  developer: {type: builtin, name: developer, enabled: true, timeout: 300, bundled: true}
  fetch: {type: stdio, name: fetch, cmd: uvx, args: [mcp-server-fetch], enabled: true, timeout: 3000, envs: {A: b},
          env_keys: [FETCH_KEY], description: Fetches, bundled: null, available_tools: []}
  far: {type: streamable_http, uri: 'https://a.example/mcp', headers: {}, enabled: false, available_tools: [one]}
""",
        {
            "fetch": {
                "type": "stdio",
                "command": "uvx",
                "args": ["mcp-server-fetch"],
                "enabled": True,
                "timeout": 3000,
                "description": "Fetches",
                "env": {"A": "b", "FETCH_KEY": "${FETCH_KEY}"},
            },
            "far": {
                "type": "http",
                "url": "https://a.example/mcp",
                "headers": {},
                "enabled": False,
                "allow": ["tools:one"],
            },
        },
        [
            "developer: it is a part of that program, and no server that can be started or reached",
            "not about servers: GOOSE_PROVIDER",
        ],
        ["fetch: set the variable FETCH_KEY"],
        told="extensions that are part of it are left out; keys in its keyring become variables",
    ),
    Client(
        "Continue",
        "config.yaml",
        """name: mine
mcpServers:
  - name: My search
    command: npx
    args: [-y, search]
    env: {KEY: "${{ secrets.SEARCH_KEY }}"}
    connectionTimeout: 20000
  - name: far
    type: streamable-http
    url: https://a.example/mcp
    requestOptions: {headers: {X: "1"}}
    apiKey: ${{ secrets.FAR }}
""",
        {
            "My search": {
                "command": "npx",
                "args": ["-y", "search"],
                "env": {"KEY": "${SEARCH_KEY}"},
                "start_timeout": 20.0,
            },
            "far": {"url": "https://a.example/mcp", "headers": {"X": "1", "Authorization": "Bearer ${FAR}"}},
        },
        ["not about servers: name"],
        ["My search: set the variable SEARCH_KEY", "far: set the variable FAR"],
    ),
    Client(
        "Copilot CLI, LM Studio, Cherry Studio, Jan",
        "mcp.json",
        """{"mcpServers": {
            "a": {"type": "local", "command": "a", "args": [], "tools": ["*"]},
            "b": {"type": "http", "url": "https://b.example", "tools": ["one", "two"]},
            "c": {"isActive": false, "type": "streamableHttp", "baseUrl": "https://c.example/mcp", "name": "C"},
            "d": {"active": false, "command": "d"},
            "Ö": {"command": "d"}, "O": {"command": "d"}, "": {"command": "x"}, "n": null}}""",
        {
            "a": {"command": "a", "args": [], "allow": ["tools:*"]},
            "b": {"type": "http", "url": "https://b.example", "allow": ["tools:one", "tools:two"]},
            "c": {"enabled": False, "type": "http", "url": "https://c.example/mcp"},
            "d": {"enabled": False, "command": "d"},
            "Ö": {"command": "d"},
        },
        [
            "c.name: has no place here",
            "O: there is another server called 'O' in the file",
            ": the name must be a text of 1 to 64 characters on one line",
            "n: is not an object",
        ],
        told="`isActive`, `active` and lists of tools keep their meaning",
    ),
]
