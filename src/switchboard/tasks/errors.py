"""Every error of the tasks room; each says what happened and whether calling again is safe."""

from __future__ import annotations

from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    ClientCapabilities,
    ErrorData,
)

from switchboard.protocol.client_requests import missing_capability
from switchboard.tasks.record import EXTENSION

_MAY_HAVE_ACTED = "It may have had effects already: check before calling again."


def undeclared() -> MCPError:
    """The client has not said, with this request, that it knows tasks."""
    needed = ClientCapabilities(extensions={EXTENSION: {}})
    return missing_capability(needed, f"This needs a client that declares the extension {EXTENSION}")


def unknown() -> MCPError:
    """There is no such task, or not any more, or not for this principal: nobody learns which."""
    return MCPError(INVALID_PARAMS, "Unknown task: it never was, has expired, or is not yours", {"reason": "no_task"})


def not_in_this_version(method: str) -> MCPError:
    """The handshake versions have no such method."""
    return MCPError(METHOD_NOT_FOUND, "Method not found", method)


def misrouted() -> MCPError:
    """`Mcp-Name` must name the task (SEP-2663, "Streamable HTTP: Routing Headers")."""
    return MCPError(HEADER_MISMATCH, "The Mcp-Name header must be the taskId of the request")


def malformed_answer(key: str, method: str) -> MCPError:
    """An answer is not what the question asked for; the question stays open."""
    return MCPError(INVALID_PARAMS, f"The answer {key!r} is not a result of {method}")


def too_many(where: str, most: int) -> MCPError:
    """There is no room for one more."""
    data = {"reason": "too_many_tasks", "retry": True}
    return MCPError(INTERNAL_ERROR, f"No more than {most} tasks may run {where}; try again later", data)


def not_serving() -> MCPError:
    """This worker has not begun to run tasks, or runs none any more."""
    data = {"reason": "worker_not_serving", "retry": True}
    return MCPError(INTERNAL_ERROR, "This worker is starting or leaving. Send the same request again.", data)


def lost() -> dict[str, Any]:
    """What a task ends with whose worker died."""
    return _ended(f"The worker that ran this task was lost. {_MAY_HAVE_ACTED}", "worker_lost")


def stopped() -> dict[str, Any]:
    """What a task ends with whose worker was told to stop."""
    return _ended(f"The worker that ran this task was stopped. {_MAY_HAVE_ACTED}", "worker_stopped")


def out_of_time(ttl_ms: int) -> dict[str, Any]:
    """What a task ends with that took longer than it may."""
    return _ended(f"The task was not done within {ttl_ms / 1000:g} s. {_MAY_HAVE_ACTED}", "out_of_time")


def _ended(message: str, reason: str) -> dict[str, Any]:
    data = {"reason": reason, "retry": False}
    return ErrorData(code=INTERNAL_ERROR, message=message, data=data).model_dump(mode="json")
