"""What a backend says by itself: questions for the client of a call, and news for whoever it concerns."""

from __future__ import annotations

from typing import Any, Protocol

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from switchboard.backends.caller import Params
from switchboard.backends.connections.inflight import InFlight
from switchboard.backends.connections.roots import LIST, Roots
from switchboard.errors import SwitchboardError
from switchboard.protocol.changes import METHODS, UPDATED
from switchboard.protocol.client_requests import CLIENT_REQUESTS

log = structlog.get_logger("switchboard.backends")


class InboundListener(Protocol):
    """Who hears what concerns the backend as a whole, whichever line it comes on."""

    def changed(self, kind: str) -> None:
        """A list changed: `tools`, `resources` or `prompts`."""
        ...

    async def updated(self, uri: str) -> None:
        """A resource changed."""
        ...


class InboundRequests:
    """Of one line. Satisfies `wire.Inbound`."""

    def __init__(self, name: str, calls: InFlight, listener: InboundListener, roots: Roots | None = None) -> None:
        self._name = name
        self._calls = calls
        self._listener = listener
        self._roots = roots
        self._garbage = 0

    async def asked(self, method: str, params: Params | None) -> dict[str, Any]:
        """Give a question to the client whose call it belongs to."""
        if method == "ping":
            return {}
        if method not in CLIENT_REQUESTS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        try:
            if method == LIST and self._roots is not None:
                return await self._roots.asked(params)
            return await self._calls.asked(method).ask(method, params)
        except MCPError as error:
            log.info("backend.unanswered", backend=self._name, method=method, reason=error.message)
            raise
        except SwitchboardError as error:
            log.info("backend.unanswered", backend=self._name, method=method, reason=str(error))
            raise MCPError(INTERNAL_ERROR, "The client cannot be asked now") from error
        except ValueError as error:  # an answer that is none: the client's fault, told to the backend
            raise MCPError(INTERNAL_ERROR, "The client's answer is not valid") from error

    async def told(self, method: str, params: Params | None) -> None:
        """Hear a notification: of the call it belongs to, or of the backend as a whole."""
        if method in METHODS:
            self._listener.changed(METHODS[method])
        elif method == UPDATED and isinstance(uri := (params or {}).get("uri"), str):
            await self._listener.updated(uri)
        elif method in ("notifications/message", "notifications/elicitation/complete"):
            call = self._calls.concerned()
            if call is not None:
                await call.notify(method, params)

    def garbled(self, error: Exception) -> None:
        """Count what is no message; say so once."""
        self._garbage += 1
        if self._garbage == 1:
            log.warning("backend.garbage", backend=self._name, error=str(error)[:200])
