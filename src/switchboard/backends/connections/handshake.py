"""What a connection agrees on with a backend before its first call: the session, the version, the log level."""

from __future__ import annotations

import re
from typing import Final

import structlog
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError

from switchboard.backends.config import Backend, Http, Sse, Stdio
from switchboard.backends.connections.negotiation import negotiate
from switchboard.backends.connections.protocol import RpcConnection
from switchboard.backends.connections.transport import Transport
from switchboard.backends.errors import Broken

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
    await negotiate(session, era, handshake_first=isinstance(what, Stdio))
    rpc.version = session.protocol_version or ""
    able = session.server_capabilities
    if able is not None and able.logging is not None and not rpc.modern:
        try:
            await rpc.request("logging/setLevel", {"level": backend.log_level})
        except MCPError as error:
            log.info("backend.log_level_refused", backend=backend.name, error=error.message)
