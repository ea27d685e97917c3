"""The client whose call a backend serves, whichever era it speaks: what it can be asked and told."""

from __future__ import annotations

from typing import Any, Literal, Protocol
from uuid import uuid4

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
)
from mcp_types.methods import INPUT_REQUIRED_METHODS, parse_server_notification, parse_server_request
from mcp_types.version import LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from switchboard.backends import texts
from switchboard.backends.envelope import Params
from switchboard.common.visible_text import text
from switchboard.fleet.peers import Channel
from switchboard.protocol.client_requests import CLIENT_REQUESTS

__all__ = ["ClientChannel", "Params", "RequestClient", "askable"]


class ClientChannel(Channel, Protocol):
    """The client whose request a backend serves, here or at another worker, as a connection sees it."""

    @property
    def era(self) -> Literal["handshake", "modern"]:
        """Which era its client speaks."""
        ...

    @property
    def capabilities(self) -> Params:
        """What its client declared that lets a server ask."""
        ...

    @property
    def wants_progress(self) -> bool:
        """Whether the client asked for progress."""
        ...


class RequestClient:
    """A request of the gateway's own server. Satisfies `ClientChannel`."""

    def __init__(self, ctx: ServerRequestContext[Any, Any]) -> None:
        self._ctx = ctx
        self.era: Literal["handshake", "modern"] = (
            "modern" if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else "handshake"
        )
        self.capabilities: Params = askable(ctx.session.client_capabilities, tells=self.era == "handshake")
        self.wants_progress = "progress_token" in (ctx.meta or {}) or "progressToken" in (ctx.meta or {})

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask on the request's own stream; in the modern era this parks the call."""
        params = texts.question(method, params or {})
        # Both eras take the handshake's typed request; what carries it checks the client's capabilities and version.
        try:
            form = CLIENT_REQUESTS[method].answer(params)
            request: Any = parse_server_request(method, LATEST_HANDSHAKE_VERSION, _asked(params))
        except (KeyError, ValidationError) as error:
            raise MCPError(INTERNAL_ERROR, f"{method} cannot be asked of a client") from error
        related = ServerMessageMetadata(related_request_id=self._ctx.request_id)
        answer: BaseModel = await self._ctx.session.send_request(request, form, metadata=related)
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def notify(self, method: str, params: Params | None) -> None:
        """Send a notification on the request's own stream, if this era and request can carry it."""
        if self.era == "modern" and self._ctx.method not in INPUT_REQUIRED_METHODS:
            return
        try:
            notification: Any = parse_server_notification(method, LATEST_HANDSHAKE_VERSION, texts.notice(params or {}))
        except (KeyError, ValidationError):
            return
        await self._ctx.session.send_notification(notification, related_request_id=self._ctx.request_id)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report under the client's own token."""
        await self._ctx.session.report_progress(progress, total, message if message is None else text(message))


class NoClient:
    """Satisfies `ClientChannel` for a request of the gateway's own: there is nobody to ask or to tell."""

    era: Literal["handshake", "modern"] = "handshake"
    wants_progress = False

    def __init__(self) -> None:
        self.capabilities: Params = {}

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Refuse."""
        raise MCPError(INVALID_REQUEST, "This request is not a client's")

    async def notify(self, method: str, params: Params | None) -> None:
        """There is no client."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """There is no client."""


def askable(declared: BaseModel | None, *, tells: bool = False) -> Params:
    """The part of a client's capabilities that lets a server ask. What the gateway cannot pass on is left out.

    Args:
        tells: whether the client can say, in its era, that its roots changed.
    """
    if declared is None:
        return {}
    dumped = declared.model_dump(by_alias=True, mode="json", exclude_none=True)
    families = [request.family for request in CLIENT_REQUESTS.values()]
    kept: dict[str, Any] = {name: dumped[name] for name in families if name in dumped}
    if "roots" in kept:
        kept["roots"] = {"listChanged": True} if tells and kept["roots"].get("listChanged") is True else {}
    return kept


def _asked(params: Params | None) -> dict[str, Any]:
    """A question without the asker's own envelope: its progress token means nothing to this client.

    A page to visit has an id in the handshake era (2025-11-25, client/elicitation) and none in the modern one.
    """
    kept = {key: value for key, value in (params or {}).items() if key != "_meta"}
    if kept.get("mode") == "url":
        kept.setdefault("elicitationId", uuid4().hex)
    return kept
