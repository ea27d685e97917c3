"""Tool calls that need nothing of their request but its parameters: the gateway serves them without a context.

Such is a call of a modern client that declared nothing it could be asked, and wants neither progress nor log messages.
What its backend says meanwhile has nobody to go to; the context of the request would drop it as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from mcp.server.context import HandlerResult
from mcp_types import CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.backends import texts
from switchboard.backends.caller import ClientChannel, Params
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.protocol.direct_requests import ToolCall, Work

_SAYS_MORE: Final = frozenset({LOG_LEVEL_META_KEY, "progressToken"})
_FAMILIES: Final = frozenset(each.family for each in CLIENT_REQUESTS.values())

Forward = Callable[[str, Mapping[str, Any], ClientChannel], Awaitable[HandlerResult]]
"""Passes one request on: method, parameters, client."""


class SilentClient:
    """A modern client that declared nothing, and listens to nothing before the result. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "modern"
    wants_progress = False

    def __init__(self) -> None:
        self.capabilities: Params = {}

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Refuse, as for every client that lacks the capability."""
        capability = CLIENT_REQUESTS[method].capability(texts.question(method, params or {}))
        raise capability.missing(f"Client did not declare the {capability.name} capability that this call requires")

    async def notify(self, method: str, params: Params | None) -> None:
        """It did not ask for log messages."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """It did not ask for progress."""


@dataclass(frozen=True, slots=True)
class DirectCalls:
    """The tools of a backend. Satisfies `switchboard.protocol.direct_requests.DirectTool`."""

    forward: Forward

    def prepare(self, call: ToolCall) -> Work | None:
        """What passes the call on; `None` if its client may be asked or told something.

        Nor is a call without arguments served: whether the client sent none, or an empty object, is not known here.
        """
        capabilities = call.meta.get(CLIENT_CAPABILITIES_META_KEY)
        if call.version not in MODERN_PROTOCOL_VERSIONS or not _SAYS_MORE.isdisjoint(call.meta):
            return None
        if not isinstance(capabilities, dict) or not _FAMILIES.isdisjoint(capabilities) or not call.arguments:
            return None
        return partial(self.forward, "tools/call", {"name": call.name, "arguments": call.arguments}, SilentClient())
