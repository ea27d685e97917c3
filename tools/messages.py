"""MCP messages as a client writes them by hand, for tests that say exactly what goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp_types import CallToolResult, TextContent

HANDSHAKE: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
ACCEPT: Final[Mapping[str, str]] = {"accept": "application/json, text/event-stream"}
CLIENT: Final = {"name": "tests", "version": "1"}

Message = dict[str, Any]
Id = int | str | None


def request(method: str, id: Id = 1, params: Mapping[str, Any] | None = None) -> Message:
    """A JSON-RPC request."""
    message: Message = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": dict(params)}


def notification(method: str, params: Mapping[str, Any] | None = None) -> Message:
    """A JSON-RPC notification."""
    message = request(method, None, params)
    del message["id"]
    return message


def call(tool: str, arguments: Mapping[str, Any] | None = None, id: Id = 1, **meta: Any) -> Message:
    """A `tools/call` request; `meta` becomes `_meta`."""
    params: Message = {"name": tool, "arguments": dict(arguments or {})}
    return request("tools/call", id, {**params, "_meta": meta} if meta else params)


def hello(version: str = HANDSHAKE, capabilities: Mapping[str, Any] | None = None) -> Message:
    """The parameters of `initialize`."""
    return {"protocolVersion": version, "capabilities": dict(capabilities or {}), "clientInfo": CLIENT}


def initialize(version: str = HANDSHAKE, capabilities: Mapping[str, Any] | None = None, id: Id = 0) -> Message:
    """The request that begins a session."""
    return request("initialize", id, hello(version, capabilities))


INITIALIZE: Final[Mapping[str, Any]] = initialize()


def envelope(capabilities: Mapping[str, Any] | None = None, version: str = MODERN) -> Message:
    """What each request of a client without sessions carries in its `_meta`."""
    prefix = "io.modelcontextprotocol"
    stated = {"protocolVersion": version, "clientInfo": CLIENT, "clientCapabilities": dict(capabilities or {})}
    return {f"{prefix}/{name}": value for name, value in stated.items()}


def modern(message: Message, capabilities: Mapping[str, Any] | None = None, **meta: Any) -> Message:
    """A request as a client of 2026-07-28 sends it."""
    params = message.get("params", {})
    told = {**envelope(capabilities), **params.get("_meta", {}), **meta}
    return {**message, "params": {**params, "_meta": told}}


def modern_headers(message: Message, name: str | None = None) -> dict[str, str]:
    """The headers that such a request needs; those that mirror the body say what it says."""
    params = message.get("params", {})
    named = name or params.get("name") or params.get("uri") or params.get("taskId") or ""
    return {**ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": message["method"], "mcp-name": named}


def text(result: CallToolResult | Mapping[str, Any]) -> str:
    """The texts of a tool's result, a line each."""
    parsed = result if isinstance(result, CallToolResult) else CallToolResult.model_validate(result)
    return "\n".join(block.text for block in parsed.content if isinstance(block, TextContent))
