"""What a backend sends by itself: requests to the client of a call, and notifications."""

from __future__ import annotations

from typing import Any, Protocol

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from switchboard.backends.caller import Params
from switchboard.backends.connections.inflight import InFlight
from switchboard.backends.connections.roots import ROOTS_LIST, Roots
from switchboard.errors import SwitchboardError
from switchboard.protocol.changes import METHODS, UPDATED
from switchboard.protocol.client_requests import CLIENT_REQUESTS

log = structlog.get_logger("switchboard.backends")


class InboundListener(Protocol):
    """Is told what concerns the backend as a whole, whichever connection it comes on."""

    def changed(self, kind: str) -> None:
        """A list changed: `tools`, `resources` or `prompts`."""
        ...

    async def updated(self, uri: str) -> None:
        """A resource changed."""
        ...


class InboundRequests:
    """Of one connection. Satisfies `protocol.Inbound`."""

    def __init__(self, name: str, calls: InFlight, listener: InboundListener, roots: Roots | None = None) -> None:
        self._name = name
        self._calls = calls
        self._listener = listener
        self._roots = roots
        self._unreadable = 0

    async def on_request(self, method: str, params: Params | None) -> dict[str, Any]:
        """Give a question to the client whose call it belongs to."""
        if method == "ping":
            return {}
        if method not in CLIENT_REQUESTS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        try:
            if method == ROOTS_LIST and self._roots is not None:
                return await self._roots.answer(params)
            return await self._calls.owner_of_request(method).ask(method, params)
        except MCPError as error:
            log.info("backend.request_refused", backend=self._name, method=method, reason=error.message)
            raise
        except SwitchboardError as error:
            log.info("backend.request_refused", backend=self._name, method=method, reason=str(error))
            raise MCPError(INTERNAL_ERROR, "The client cannot be asked now") from error
        except ValueError as error:  # an answer that is none: the client's fault, told to the backend
            raise MCPError(INTERNAL_ERROR, "The client's answer is not valid") from error

    async def on_notification(self, method: str, params: Params | None) -> None:
        """Pass a notification on: to the call it belongs to, or to the listener."""
        if method in METHODS:
            self._listener.changed(METHODS[method])
        elif method == UPDATED and isinstance(uri := (params or {}).get("uri"), str):
            await self._listener.updated(uri)
        elif method in ("notifications/message", "notifications/elicitation/complete"):
            call = self._calls.owner_of_notification()
            if call is not None:
                await call.notify(method, params)

    def on_unreadable(self, error: Exception) -> None:
        """Count what is no message; say so once."""
        self._unreadable += 1
        if self._unreadable == 1:
            log.warning("backend.message_unreadable", backend=self._name, error=str(error)[:200])
