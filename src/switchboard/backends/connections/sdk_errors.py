"""How the SDK says that a connection, or one answer, ended."""

from __future__ import annotations

from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

CLOSED: Final = "Connection closed"
"""What the SDK says to everyone who waits when a connection ends; HTTP says more when it is one request that ended."""

CUT_SHORT: Final = "SSE stream "
"""How the SDK begins what it says of an answer that will not come."""


def is_end(error: MCPError) -> bool:
    """Whether the SDK says it, of a connection or of one answer; servers use the same code for errors of their own.

    The TypeScript SDK's, for one, refuses a version that it does not know with it.
    """
    return error.code == CONNECTION_CLOSED and (error.message == CLOSED or error.message.startswith(CUT_SHORT))
