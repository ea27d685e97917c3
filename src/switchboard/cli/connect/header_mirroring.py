"""The HTTP headers of a message: which era it is of, and what of it is mirrored for the servers in between.

On stdio there are none of these, so a client that speaks only stdio does not send them.

https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-headers
"""

from __future__ import annotations

from typing import Any

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER, x_mcp_header_map
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import PROTOCOL_VERSION_META_KEY, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest

from switchboard.backends.envelope import HeaderMap, routing_headers


class Stamps:
    """Knows the version agreed on, and the tools whose arguments are mirrored."""

    def __init__(self) -> None:
        self.agreed = ""
        """By the handshake; a modern client says it with each request."""
        self._mirrored: dict[str, HeaderMap] = {}

    def stamped(self, message: JSONRPCMessage) -> SessionMessage:
        """The message as the HTTP transport takes it."""
        return SessionMessage(message, ClientMessageMetadata(headers=self._headers(message)))

    def learn(self, result: dict[str, Any]) -> None:
        """Remember what a `tools/list` answered."""
        tools = result.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("inputSchema"), dict):
                self._mirrored[str(tool.get("name"))] = x_mcp_header_map(tool["inputSchema"])

    def _headers(self, message: JSONRPCMessage) -> dict[str, str]:
        version = said_version(message)
        if version is None or not isinstance(message, JSONRPCRequest | JSONRPCNotification):
            return {MCP_PROTOCOL_VERSION_HEADER: self.agreed} if self.agreed else {}
        params = message.params or {}
        mirrored = self._mirrored.get(str(params.get("name"))) if message.method == "tools/call" else None
        return {MCP_PROTOCOL_VERSION_HEADER: version, **routing_headers(message.method, params, mirrored)}


def said_version(message: JSONRPCMessage) -> str | None:
    """The version that a message of the modern era names; `None` for any other."""
    if not isinstance(message, JSONRPCRequest | JSONRPCNotification):
        return None
    meta = (message.params or {}).get("_meta")
    version = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None
