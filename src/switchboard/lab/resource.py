"""The protected resource of each scenario: its metadata, and its MCP endpoint with three tools.

The endpoint is the SDK's own server without sessions, the same for all scenarios; what differs is who gets to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from switchboard.common import strict_json
from switchboard.lab.addresses import ELSEWHERE, Address, Addresses
from switchboard.lab.scenarios.model import Endpoint
from switchboard.lab.tokens import Tokens

MAX_BODY: Final = 262_144

INSTRUCTIONS: Final = "A server of the authorization lab. Call `read`, then `write`, then `ping_back`."

UNKNOWN: Final = {"x_lab_member": {"nested": [1, None, "text"]}, "x_lab_other": None}
"""Members that no specification knows."""


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
    """Serves the resource of every scenario.

    Args:
        end: ends the token with this `jti`.
        ended: whether it was.
    """

    def __init__(
        self,
        addresses: Addresses,
        tokens: Tokens,
        end: Callable[[str], Awaitable[object]],
        ended: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._end = end
        self._ended = ended
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
        """RFC 9728 §2, at the addresses where the scenario has them."""
        run, name, does = address.run, address.scenario.name, address.scenario.behaviour.discovery
        elsewhere = address.kind == ELSEWHERE
        if not elsewhere and does.resource_metadata == "redirected":
            return RedirectResponse(self._addresses.resource_metadata(run, name, elsewhere=True), 307)
        if elsewhere == (does.resource_metadata == "well-known"):
            return JSONResponse({"error": "not_found"}, 404)
        endpoint = self._addresses.endpoint(run, name)
        document: dict[str, Any] = {
            "resource": f"{endpoint}/" if does.resource == "/" else does.resource or endpoint,
            "authorization_servers": [self._addresses.issuer(run, name)],
            "scopes_supported": list(does.scopes),
            "bearer_methods_supported": ["header"],
        }
        return JSONResponse({**document, **UNKNOWN} if does.unknown else document)

    async def refusal(self, address: Address, authorization: Sequence[str], body: bytes) -> Response | None:
        """401 or 403 with a challenge; `None` for a request that may pass."""
        does = address.scenario.behaviour.endpoint
        issuer = self._addresses.issuer(address.run, address.scenario.name)
        kind, _, token = authorization[0].partition(" ") if authorization else ("", "", "")
        claims = self._tokens.read("access", issuer, token.strip()) if kind.lower() == "bearer" else None
        wanted = wanted_of(body)
        if claims is None or len(authorization) > 1 or await self._is_refused(does, claims, wanted):
            error = {"error": "invalid_token", "error_description": "The token is not valid"} if authorization else {}
            return self._challenge(address, 401, {**error, "scope": "read"})
        needed = next((does.needed[each] for each in wanted if each in does.needed), "")
        if not needed or needed in str(claims["scope"]).split():
            return None
        if not does.hints:
            return JSONResponse(_error(403), 403)
        lacking = {"error": "insufficient_scope", "scope": f"{claims['scope']} {needed}".strip()}
        return self._challenge(address, 403, lacking)

    def unserved(self, method: str) -> Response | None:
        """405 for a method that a server without sessions and streams has not; `None` for POST."""
        return None if method == "POST" else Response(status_code=405, headers={"Allow": "POST"})

    async def _is_refused(self, does: Endpoint, claims: Mapping[str, Any], wanted: Collection[str]) -> bool:
        if not does.revoked_after:
            return does.never_good
        if await self._ended(claims["jti"]):
            return True
        if does.revoked_after in wanted:
            await self._end(claims["jti"])
        return False

    def _challenge(self, address: Address, status: int, values: Mapping[str, str]) -> Response:
        does = address.scenario.behaviour.discovery
        elsewhere = does.resource_metadata == "elsewhere"
        where = self._addresses.resource_metadata(address.run, address.scenario.name, elsewhere=elsewhere)
        said = {**values, "resource_metadata": where}
        if does.challenge == "without metadata":
            del said["resource_metadata"]
        if does.challenge == "without scope" and status == 401:
            del said["scope"]
        challenge = ", ".join(f'{name}="{value}"' for name, value in said.items())
        headers = {"WWW-Authenticate": f"Bearer {challenge}", "Cache-Control": "no-store"}
        return JSONResponse(_error(status), status, headers=headers)


def _error(status: int) -> Mapping[str, Any]:
    said = {"code": -32600, "message": f"Answered {status}: see the challenge"}
    return {"jsonrpc": "2.0", "id": None, "error": said}


def message_of(body: bytes) -> Mapping[str, Any]:
    """The JSON-RPC message of a body; empty if it is none."""
    try:
        found = strict_json.read(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def wanted_of(body: bytes) -> Collection[str]:
    """The method of a body's message, and the tool that it calls."""
    message = message_of(body)
    method, params = message.get("method"), message.get("params")
    named = params.get("name") if method == "tools/call" and isinstance(params, dict) else None
    return [each for each in (method, named) if isinstance(each, str)]
