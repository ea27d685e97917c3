"""The protected resource of each scenario: its metadata, and its MCP endpoint with three tools.

The endpoint is the SDK's own server without sessions, the same for all scenarios; what differs is who gets to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from switchboard.common import strict_json
from switchboard.lab.addresses import Address, Addresses
from switchboard.lab.tokens import Tokens

MAX_BODY: Final = 262_144

INSTRUCTIONS: Final = "A server of the authorization lab. Call `read`, then `write`."


def lab_server() -> MCPServer[Any]:
    """The server behind every scenario."""
    server: MCPServer[Any] = MCPServer("switchboard-lab", instructions=INSTRUCTIONS, log_level="WARNING")

    @server.tool()
    def read() -> str:
        """Read something: needs nothing but a token."""
        return "This is what you may read."

    @server.tool()
    def write(text: str = "something") -> str:
        """Write something: in some scenarios it needs the scope `write`."""
        return f"Written: {text}"

    @server.tool()
    def ping_back() -> str:
        """Answer, to see that a call arrives."""
        return "pong"

    return server


class Resource:
    """Serves the resource of every scenario."""

    def __init__(self, addresses: Addresses, tokens: Tokens) -> None:
        self._addresses = addresses
        self._tokens = tokens
        lowlevel = lab_server()._lowlevel_server
        self._manager = StreamableHTTPSessionManager(lowlevel, stateless=True, json_response=True)

    def running(self) -> AbstractAsyncContextManager[None]:
        """The SDK's part, while requests are served."""
        return self._manager.run()

    @property
    def served(self) -> ASGIApp:
        """The MCP endpoint for whoever may come to it."""
        return self._manager.handle_request

    def metadata(self, address: Address) -> Response:
        """RFC 9728 §2."""
        run, scenario = address.run, address.scenario
        document = {
            "resource": scenario.behaviour.resource or self._addresses.endpoint(run, scenario.name),
            "authorization_servers": [self._addresses.issuer(run, scenario.name)],
            "scopes_supported": ["read"],  # what one needs at first: the rest is asked for by step-up
            "bearer_methods_supported": ["header"],
        }
        return JSONResponse(document)

    def refusal(self, address: Address, authorization: Sequence[str], body: bytes) -> Response | None:
        """401 or 403 with a challenge; `None` for a request that may pass."""
        issuer = self._addresses.issuer(address.run, address.scenario.name)
        kind, _, token = authorization[0].partition(" ") if authorization else ("", "", "")
        claims = self._tokens.read("access", issuer, token.strip()) if kind.lower() == "bearer" else None
        if claims is None or len(authorization) > 1:
            error = {"error": "invalid_token", "error_description": "The token is not valid"} if authorization else {}
            return self._challenge(address, 401, {**error, "scope": "read"})
        needed = address.scenario.behaviour.needed.get(tool_of(body), "")
        if needed and needed not in str(claims["scope"]).split():
            return self._challenge(
                address, 403, {"error": "insufficient_scope", "scope": f"{claims['scope']} {needed}".strip()}
            )
        return None

    def unserved(self, method: str) -> Response | None:
        """405 for a method that a server without sessions and streams has not; `None` for POST."""
        return None if method == "POST" else Response(status_code=405, headers={"Allow": "POST"})

    def _challenge(self, address: Address, status: int, values: Mapping[str, str]) -> Response:
        where = {"resource_metadata": self._addresses.resource_metadata(address.run, address.scenario.name)}
        said = ", ".join(f'{name}="{value}"' for name, value in {**values, **where}.items())
        error = {
            "jsonrpc": "2.0",
            "id": None,
            "error": {"code": -32600, "message": f"Answered {status}: see the challenge"},
        }
        return JSONResponse(error, status, headers={"WWW-Authenticate": f"Bearer {said}", "Cache-Control": "no-store"})


def message_of(body: bytes) -> Mapping[str, Any]:
    """The JSON-RPC message of a body; empty if it is none."""
    try:
        found = strict_json.read(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def tool_of(body: bytes) -> str:
    """The tool that a body calls; empty if it calls none."""
    message = message_of(body)
    params = message.get("params")
    named = params.get("name") if message.get("method") == "tools/call" and isinstance(params, dict) else ""
    return named if isinstance(named, str) else ""
