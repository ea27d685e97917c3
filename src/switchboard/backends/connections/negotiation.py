"""Agreeing with a backend on a protocol version."""

from __future__ import annotations

from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from switchboard.backends.connections.sdk_errors import is_end
from switchboard.backends.errors import ACCESS_REFUSED, BACKEND_UNAVAILABLE, Broken, Unreachable
from switchboard.common.validation_messages import complaints
from switchboard.config import Era
from switchboard.errors import plainly


async def negotiate(session: ClientSession, era: Era, *, handshake_first: bool) -> None:
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
                raise Broken(error.message) from error
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
