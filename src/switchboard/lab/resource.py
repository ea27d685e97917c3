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
from switchboard.lab.addresses import ELSEWHERE, SECOND, Address, Addresses, parties
from switchboard.lab.signing import ChangingKeys
from switchboard.lab.streaming import NO_RESUMING, cut, resumed
from switchboard.lab.tokens import IDENTIFIER, Tokens

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
        keys: ChangingKeys,
        end: Callable[[str], Awaitable[object]],
        ended: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._keys = keys
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
        elsewhere, moves = address.kind == ELSEWHERE, does.issuers == "moves"
        if not elsewhere and does.resource_metadata == "redirected":
            return RedirectResponse(self._addresses.resource_metadata(run, name, elsewhere=True), 307)
        if elsewhere == (does.resource_metadata == "well-known") and not moves:
            return JSONResponse({"error": "not_found"}, 404)
        named = parties(address.scenario) if not moves else (SECOND,) if elsewhere else ("",)
        document: dict[str, Any] = {
            "resource": self._resource_of(address),
            "authorization_servers": [self._addresses.issuer(run, name, party) for party in named],
            "scopes_supported": list(does.scopes),
            "bearer_methods_supported": ["header"],
        }
        return JSONResponse({**document, **UNKNOWN} if does.unknown else document)

    def _resource_of(self, address: Address) -> str:
        """What its metadata name: at the root of a host that host, as RFC 9728 §3.3 has it, else the endpoint."""
        does, endpoint = (
            address.scenario.behaviour.discovery,
            self._addresses.endpoint(address.run, address.scenario.name),
        )
        if address.root and self._addresses.origin is not None:
            return self._addresses.origin
        return f"{endpoint}/" if does.resource == "/" else does.resource or endpoint

    async def refusal(self, address: Address, authorization: Sequence[str], body: bytes) -> Response | None:
        """401 or 403 with a challenge; `None` for a request that may pass."""
        does = address.scenario.behaviour.endpoint
        claims = await self._claims(address, authorization)
        wanted = wanted_of(body)
        if claims is None or await self._is_refused(address, claims, wanted):
            error = {"error": "invalid_token", "error_description": "The token is not valid"} if authorization else {}
            return self._challenge(address, 401, {**error, "scope": "read"}, moved=claims is not None)
        has = claims["scp"] if "scp" in claims else str(claims["scope"]).split()
        needed = next((does.needed[each] for each in wanted if each in does.needed), "")
        if not needed or needed in has:
            return None
        if does.hints == "none":
            return JSONResponse(_error(403), 403)
        scope = needed if does.hints == "missing" else " ".join([*has, needed])
        return self._challenge(address, 403, {"error": "insufficient_scope", "scope": scope})

    def unserved(self, address: Address, method: str, headers: Mapping[str, str], body: bytes) -> Response | None:
        """What the endpoint answers in place of its MCP server; `None` for what that does.

        405 for a method that a server without sessions and streams has not. Where answers are cut, a stream that ends
        early, and its rest for whoever resumes it; since 2026-07-28 none is, for streams are not resumed any more.
        """
        tool = address.scenario.behaviour.endpoint.cut_after
        resumes = headers.get("mcp-protocol-version", "") < NO_RESUMING
        if tool and resumes and method == "GET":
            return resumed(headers.get("last-event-id", ""))
        if tool and resumes and method == "POST" and tool in wanted_of(body):
            return cut(message_of(body))
        return None if method == "POST" else Response(status_code=405, headers={"Allow": "POST"})

    async def _claims(self, address: Address, authorization: Sequence[str]) -> Mapping[str, Any] | None:
        """Those of a token of one of the scenario's issuers, for this endpoint."""
        kind, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        if kind.lower() != "bearer":
            return None
        run, name = address.run, address.scenario.name
        issuers = [self._addresses.home(run, name, party) for party in parties(address.scenario)]
        key = await self._keys.current(run, name) if address.scenario.behaviour.endpoint.keys_after else None
        read = [self._tokens.read("access", issuer, token.strip(), key) for issuer in issuers]
        found = next((claims for claims in read if claims is not None), None)
        expected = {"identifier": IDENTIFIER, "none": None}
        audience = expected.get(address.scenario.behaviour.answers.audience, self._addresses.endpoint(run, name))
        return found if found is not None and found.get("aud") == audience else None

    async def _is_refused(self, address: Address, claims: Mapping[str, Any], wanted: Collection[str]) -> bool:
        does, discovery = address.scenario.behaviour.endpoint, address.scenario.behaviour.discovery
        if does.keys_after in wanted:
            await self._keys.change(address.run, address.scenario.name)
        ends_after = does.revoked_after or does.cut_after
        first = claims["iss"] == self._addresses.home(address.run, address.scenario.name)
        if not ends_after or (discovery.issuers == "moves" and not first):
            return does.never_good
        if await self._ended(claims["jti"]):
            return True
        if ends_after in wanted:
            await self._end(claims["jti"])
        return False

    def _challenge(self, address: Address, status: int, values: Mapping[str, str], *, moved: bool = False) -> Response:
        does = address.scenario.behaviour.discovery
        elsewhere = does.resource_metadata == "elsewhere" or (moved and does.issuers == "moves")
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
    return [each for each in (message.get("method"), tool_of(message)) if isinstance(each, str)]


def tool_of(message: Mapping[str, Any]) -> str | None:
    """The tool that a message calls."""
    params = message.get("params")
    named = params.get("name") if message.get("method") == "tools/call" and isinstance(params, dict) else None
    return named if isinstance(named, str) else None
