"""Every error that parking itself answers with; each says what happened and whether calling again is safe."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

REQUEST_CANCELLED = -32800
"""What the SDK's own transports answer for a cancelled request; it has no name there."""


def invalid_state() -> MCPError:
    """The state is genuine, but not of a kind that this version knows."""
    return MCPError(INVALID_PARAMS, "Invalid or expired requestState", {"reason": "invalid_request_state"})


def invalid_responses() -> MCPError:
    """`inputResponses` is not an object keyed by the keys of `inputRequests`."""
    return MCPError(INVALID_PARAMS, "inputResponses must be an object", {"reason": "invalid_input_responses"})


def not_parked() -> MCPError:
    """The call ended, or waited for its client for too long."""
    return MCPError(
        INVALID_PARAMS,
        "This call waits no longer: it has ended, or its answers came too late. Call again without requestState.",
        {"reason": "call_expired"},
    )


def worker_lost(method: str) -> MCPError:
    """The worker that held the call died or left."""
    safe = method != "tools/call"  # prompts and resources are read; a tool may have acted already
    advice = "Call again." if safe else "It may have had effects already: check before calling again."
    return MCPError(
        INTERNAL_ERROR,
        f"The call was lost with the worker that held it. {advice}",
        {"reason": "worker_lost", "retry": safe},
    )


def not_serving() -> MCPError:
    """This worker has not begun to hold calls, or holds none any more."""
    return MCPError(
        INTERNAL_ERROR,
        "This worker is starting or leaving. Send the same request again.",
        {"reason": "worker_not_serving", "retry": True},
    )


def unreachable() -> MCPError:
    """The holder, or the Redis between us, cannot be reached now; the round is kept, so retrying it is safe."""
    return MCPError(
        INTERNAL_ERROR,
        "The worker that holds this call cannot be reached now. Send the same request again.",
        {"reason": "worker_unreachable", "retry": True},
    )


def cancelled() -> MCPError:
    """The client left, and the call was cancelled with it."""
    return MCPError(REQUEST_CANCELLED, "Request cancelled")


def too_many(whose: str, limit: int) -> MCPError:
    """No room for another parked call."""
    return MCPError(
        INTERNAL_ERROR,
        f"Too many calls are waiting for their client's answer ({limit} {whose}). Answer or abandon some, then retry.",
        {"reason": "too_many_parked_calls", "limit": limit, "retry": True},
    )
