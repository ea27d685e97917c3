"""What a connection agrees on with a backend before its first call: the session, the version, the log level."""

from __future__ import annotations

import re
from typing import Final

import structlog
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from switchboard.backends.config import Backend, Http, Sse, Stdio
from switchboard.backends.connections.protocol import RpcConnection, is_end
from switchboard.backends.connections.transport import Transport
from switchboard.backends.errors import ACCESS_REFUSED, BACKEND_UNAVAILABLE, AccessRefused, Broken, Unreachable
from switchboard.common.validation_messages import complaints
from switchboard.config import Era
from switchboard.errors import plainly

OTHER_TRANSPORT: Final = re.compile(r"HTTP 40[0456]\b")
"""How servers answer that know only the transport with two endpoints.
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#backwards-compatibility"""

log = structlog.get_logger("switchboard.backends")


async def agree(backend: Backend, transport: Transport, session: ClientSession, rpc: RpcConnection) -> None:
    """Go on with what was agreed, or agree anew.

    Raises:
        Unreachable: nothing answers, or nothing that we could talk to.
    """
    if transport.resumed is not None:
        session.adopt(transport.resumed)
        rpc.version = transport.resumed.protocol_version
        return
    try:
        await _agree_anew(backend, session, rpc)
    except Broken as error:
        await transport.on_negotiated(None)
        if isinstance(backend.transport, Http) and OTHER_TRANSPORT.search(str(error)):
            raise Broken(f"{error}; if it speaks HTTP+SSE, state `type: sse`") from error
        raise
    except BaseException:
        await transport.on_negotiated(None)
        raise
    await transport.on_negotiated(session.initialize_result)


async def _agree_anew(backend: Backend, session: ClientSession, rpc: RpcConnection) -> None:
    what = backend.transport
    era = "handshake" if isinstance(what, Sse) else what.era
    await _negotiate(session, era, handshake_first=isinstance(what, Stdio))
    rpc.version = session.protocol_version or ""
    able = session.server_capabilities
    if able is not None and able.logging is not None and not rpc.modern:
        try:
            await rpc.request("logging/setLevel", {"level": backend.log_level})
        except MCPError as error:
            log.info("backend.log_level_refused", backend=backend.name, error=error.message)


async def _negotiate(session: ClientSession, era: Era, *, handshake_first: bool) -> None:
    """Agree on a protocol version.

    Raises:
        Unreachable: nothing answers, or nothing that we could talk to.
    """
    tries = {"handshake": ("handshake",), "modern": ("modern",)}.get(
        era, ("handshake", "modern") if handshake_first else ("modern", "handshake")
    )
    reasons: list[str] = []
    for one in tries:
        try:
            await (session.initialize() if one == "handshake" else session.discover())
        except MCPError as error:
            if error.code == ACCESS_REFUSED:
                raise AccessRefused(error.message) from error
            if is_end(error) or error.code == BACKEND_UNAVAILABLE or _hopeless(error):
                raise Unreachable(error.message) from error
            reasons.append(f"{one}: {error.message}")
        except ValidationError as error:
            reasons.append(f"{one}: {complaints(error, 'the answer')}")
        except (RuntimeError, ValueError) as error:  # the SDK's words for a version or an answer it cannot take
            reasons.append(f"{one}: {plainly(error)}")
        else:
            return
    raise Broken("no protocol version in common (" + "; ".join(reasons) + ")")


def _hopeless(error: MCPError) -> bool:
    """Whether a modern backend said that it speaks only versions which nobody here knows."""
    if error.code != UNSUPPORTED_PROTOCOL_VERSION or not isinstance(error.error.data, dict):
        return False
    supported = error.error.data.get("supported") or ()
    return not any(version in supported for version in (*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS))
