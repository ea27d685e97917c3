"""What a line agrees on with a backend before its first call: the session, the version, the log level."""

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


async def agree(backend: Backend, opened: Transport, session: ClientSession, wire: RpcConnection) -> None:
    """Go on with what was agreed, or agree anew.

    Raises:
        Unreachable: nothing answers, or nothing that we could talk to.
    """
    if opened.resumed is not None:
        session.adopt(opened.resumed)
        wire.version = opened.resumed.protocol_version
        return
    try:
        await _agree_anew(backend, session, wire)
    except Broken as error:
        await opened.agreed(None)
        if isinstance(backend.transport, Http) and OTHER_TRANSPORT.search(str(error)):
            raise Broken(f"{error}; if it speaks HTTP+SSE, state `type: sse`") from error
        raise
    except BaseException:
        await opened.agreed(None)
        raise
    await opened.agreed(session.initialize_result)


async def _agree_anew(backend: Backend, session: ClientSession, wire: RpcConnection) -> None:
    what = backend.transport
    era = "handshake" if isinstance(what, Sse) else what.era
    await negotiate(session, era, handshake_first=isinstance(what, Stdio))
    wire.version = session.protocol_version or ""
    able = session.server_capabilities
    if able is not None and able.logging is not None and not wire.modern:
        try:
            await wire.request("logging/setLevel", {"level": backend.log_level})
        except MCPError as error:
            log.info("backend.no_log_level", backend=backend.name, error=error.message)
