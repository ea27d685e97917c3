"""What the log of calls says of a call: who, what, of which provider, how it ended, how long it took.

Every call that reaches a provider passes `source.answered`, on the fast path and on the SDK's way; that asks `began`
first, and notes the end with what that gave.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from mcp_types.methods import is_input_required

from switchboard.audit.call_log import CallLog
from switchboard.log import request_id
from switchboard.protocol.direct_requests import TextResult

EVENTS: Final[Mapping[str, str]] = {
    "tools/call": "tool.called",
    "resources/read": "resource.read",
    "prompts/get": "prompt.got",
}

_HIDDEN: Final = re.compile(r"[?#].*|(?<=//)[^/@]*@", re.DOTALL)
"""What of a URI may be a secret; the digest covers it."""


class Called(Protocol):
    """What was called."""

    @property
    def exposed(self) -> str:
        """The name that clients use."""
        ...

    @property
    def provider(self) -> str:
        """Whose it is."""
        ...


class Caller(Protocol):
    """Who called."""

    @property
    def person(self) -> str: ...
    @property
    def client_id(self) -> str: ...


class Noted:
    """A call that is to be noted when it has ended."""

    __slots__ = ("_began", "_called", "_log", "_method", "_one_of", "_params")

    def __init__(self, log: CallLog, called: Called, method: str, params: Any, one_of: int) -> None:
        self._log, self._called, self._method, self._params, self._one_of = log, called, method, params, one_of
        self._began = time.perf_counter()

    def returned(self, result: Any, caller: Caller) -> None:
        """The provider gave a result."""
        self._ended(_outcome(result), caller)

    def raised(self, error: BaseException, caller: Caller) -> None:
        """The provider raised something, or was cancelled."""
        said = f"error {error.error.code}" if isinstance(error, MCPError) else "failed"
        self._ended(said if isinstance(error, Exception) else "cancelled", caller)

    def _ended(self, outcome: str, caller: Caller) -> None:
        took_ms = (time.perf_counter() - self._began) * 1000
        what, given = _about(self._called.exposed, self._params)
        fields = {
            "event": EVENTS[self._method],
            "who": caller.person,
            "what": what,
            "outcome": outcome,
            "backend": self._called.provider,
            "client": caller.client_id,
            "duration_ms": f"{took_ms:.1f}",
            "request": str(request_id.get("") or ""),
        }
        if self._one_of > 1:
            fields["one_of"] = str(self._one_of)
        self._log.note(fields, given)


def began(log: CallLog, called: Called, method: str, params: Any) -> Noted | None:
    """A call begins: what notes its end, if it is to be noted.

    Args:
        params: of the request: as it was sent, or the SDK's model of them.
    """
    if method not in EVENTS:
        return None
    one_of = log.one_of(called.provider)
    return Noted(log, called, method, params, one_of) if one_of else None


def _about(exposed: str, params: Any) -> tuple[str, object]:
    """What is called, as clients name it, and what it is given."""
    if isinstance(params, dict):
        return exposed, params.get("arguments")
    uri = getattr(params, "uri", None)
    if uri is not None:
        return _HIDDEN.sub("", str(uri)), str(uri)
    return exposed, getattr(params, "arguments", None)


def _outcome(result: Any) -> str:
    if isinstance(result, TextResult):
        return "ok"
    if isinstance(result, CallToolResult):
        return "tool error" if result.is_error else "ok"
    if isinstance(result, Mapping) and result.get("isError") is True:
        return "tool error"
    return "input required" if is_input_required(result) else "ok"
