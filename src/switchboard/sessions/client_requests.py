"""Questions of a handler that wait for its client: on which terms they may be put, and how an answer is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, LOG_LEVEL_META_KEY, ClientCapabilities
from mcp_types.methods import serialize_server_result
from pydantic import ValidationError

from switchboard.protocol.client_requests import CLIENT_REQUESTS, Params


@dataclass(frozen=True, slots=True)
class Terms:
    """What the request of a round declared about its client; the next round's may differ."""

    capabilities: ClientCapabilities | None
    level: str | None

    @classmethod
    def of(cls, ctx: ServerRequestContext[Any, Any]) -> Terms:
        """The terms of the request being served."""
        level = (ctx.meta or {}).get(LOG_LEVEL_META_KEY)
        return cls(ctx.session.client_capabilities, level if isinstance(level, str) else None)

    def frame(self) -> dict[str, Any]:
        """The terms as JSON for another worker."""
        declared = self.capabilities
        dumped = declared.model_dump(by_alias=True, mode="json", exclude_none=True) if declared is not None else None
        return {"capabilities": dumped, "level": self.level}

    @classmethod
    def read(cls, frame: Mapping[str, Any]) -> Terms:
        """The terms that another worker sent."""
        dumped = frame["capabilities"]
        declared = ClientCapabilities.model_validate(dumped, by_name=False) if dumped is not None else None
        return cls(declared, frame["level"])

    def wants_log(self, version: str, params: Params | None) -> bool:
        """Whether this round asked for log messages of that level."""
        allowed = allowed_log_levels(version, {LOG_LEVEL_META_KEY: self.level})
        return (params or {}).get("level") in allowed

    def check(self, method: str, params: Params) -> None:
        """Refuse what the client did not declare to answer.

        Raises:
            MCPError: MISSING_REQUIRED_CLIENT_CAPABILITY, naming the capability.
        """
        capability = CLIENT_REQUESTS[method].capability(params)
        if not capability.declared_by(self.capabilities or ClientCapabilities()):
            raise capability.missing(f"Client did not declare the {capability.name} capability that this call requires")


def _new_answer() -> asyncio.Future[dict[str, Any]]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A request that waits for its client's answer."""

    method: str
    params: Params
    request: dict[str, Any]
    """As it is sent: `{"method": …, "params": …}` in the shape of the client's protocol version."""
    answer: asyncio.Future[dict[str, Any]] = field(default_factory=_new_answer)

    @classmethod
    def make(cls, carrier: str, version: str, method: str, params: Params | None) -> Ask:
        """Shape a request so that an answer to `carrier` (as `tools/call`) may carry it.

        Raises:
            MCPError: the version has no such request, or not with these parameters.
        """
        given = {"resultType": "input_required", "inputRequests": {"k": {"method": method, "params": params or {}}}}
        try:
            shaped = serialize_server_result(carrier, version, given)
        except ValidationError:
            message = f"{method} with these parameters cannot be asked of a client that speaks {version}"
            raise MCPError(INTERNAL_ERROR, message) from None
        return cls(method, params or {}, shaped["inputRequests"]["k"])

    def take(self, answer: Any) -> bool:
        """Hand an answer over to who waits for it; `False` when it is not of the right shape."""
        try:
            CLIENT_REQUESTS[self.method].answer(self.params).model_validate(answer, by_name=False)
        except ValidationError:
            return False
        if not self.answer.done():
            self.answer.set_result(answer)
        return True

    def refuse(self, error: MCPError) -> None:
        """Tell who waits that it cannot be asked."""
        if not self.answer.done():
            self.answer.set_exception(error)


def answered(stored: str) -> dict[str, Any]:
    """The result in a client's answer, as it is stored.

    Raises:
        MCPError: the client's error, or the answer cannot be read.
    """
    try:
        message = json.loads(stored)
        if "error" not in message:
            return dict(message["result"])
        error = message["error"]
        failure = MCPError(error["code"], error["message"], error.get("data"))
    except (ValueError, KeyError, TypeError, AttributeError):  # another version's, or not written by one of us
        raise MCPError(INTERNAL_ERROR, "The client's answer cannot be read") from None
    raise failure


def withdrawn(request: str) -> dict[str, Any]:
    """What tells a client that its answer to a request is not waited for any more."""
    params = {"requestId": request, "reason": "no longer waiting"}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
