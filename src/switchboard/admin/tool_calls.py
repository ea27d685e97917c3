"""A call of a tool for whoever asks the API: this worker's MCP endpoint is asked, and its answer told as the API's.

So scopes, policy, presets, limits and the audit of calls are those that the caller's own MCP client would meet. The
request is one of 2026-07-28, which needs no session: a question to the caller ends it, and the next request answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from mcp.shared.inbound import encode_header_value, mcp_param_headers, x_mcp_header_map
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem

VERSION: Final = "2026-07-28"
EVENTS: Final = b"text/event-stream"

ABILITIES: Final[Mapping[str, Any]] = {"elicitation": {"form": {}, "url": {}}}
"""What the caller is said to be able to do: to answer a form, and to open a page."""

_OURS: Final = (b"accept", b"content-", b"mcp-", b"idempotency-key", b"transfer-encoding", b"last-event-id")
"""Headers of the request to the API that are about it alone, by how their names begin."""

_OF_STREAM: Final = [
    (b"content-type", EVENTS),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ToolCall(Response):
    """Makes the call when it is sent, and is the answer to it.

    Args:
        mcp: the endpoint, behind what finds out who the caller is.
        params: of `tools/call`.
        schema: of the tool's arguments, if it is known: it says which of them are headers, too.
        selection: `preset` and `tags` of the endpoint's URL.
        version: of this server.
        events: whether progress and the outcome are sent as events, as they come.
    """

    def __init__(
        self,
        mcp: ASGIApp,
        params: Mapping[str, Any],
        schema: Mapping[str, Any],
        selection: Mapping[str, str],
        version: str,
        *,
        events: bool,
    ) -> None:
        super().__init__()
        self._mcp = mcp
        self._selection = {name: value for name, value in selection.items() if value}
        self._events = events
        meta: dict[str, Any] = {
            PROTOCOL_VERSION_META_KEY: VERSION,
            CLIENT_INFO_META_KEY: {"name": "switchboard-api", "version": version},
            CLIENT_CAPABILITIES_META_KEY: ABILITIES,
        }
        if events:
            meta["progressToken"] = 1
        self._tool: str = params["name"]
        self._message = to_json(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**params, "_meta": meta}}
        )
        mirrored = mcp_param_headers(x_mcp_header_map(schema), params["arguments"])
        self._sent_headers = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "content-length": str(len(self._message)),
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
            "mcp-name": encode_header_value(params["name"]),
            **mirrored,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make it; whoever leaves meanwhile cancels it.

        Raises:
            Problem: it was not made, or not to its end.
        """
        pending: list[Message] = [{"type": "http.request", "body": self._message, "more_body": False}]

        async def asked() -> Message:
            return pending.pop() if pending else await receive()

        answer = _Answer(send, self._tool, events=self._events)
        await self._mcp(self._scope(scope), asked, answer)
        await answer.end()

    def _scope(self, scope: Scope) -> Scope:
        """The request to the endpoint: from the same caller, and a line in the log with it."""
        kept = [each for each in scope["headers"] if not each[0].lower().startswith(_OURS)]
        ours = [(name.lower().encode(), value.encode()) for name, value in self._sent_headers.items()]
        return {
            "type": "http",
            "asgi": scope["asgi"],
            "http_version": scope["http_version"],
            "method": "POST",
            "scheme": scope["scheme"],
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": urlencode(self._selection).encode(),
            "headers": [*kept, *ours],
            "client": scope["client"],
            "server": scope["server"],
            "state": {name: scope["state"][name] for name in ("about", "challenge") if name in scope.get("state", {})},
        }


class _Answer:
    """The way out of the endpoint: what it answers is told as an outcome, or raised as a problem."""

    def __init__(self, send: Send, tool: str, *, events: bool) -> None:
        self._send = send
        self._tool = tool
        self._events = events
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""
        self._lines = _Lines()
        self._last: Mapping[str, Any] | None = None
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        elif self._headers.get("content-type", "").startswith("text/event-stream"):
            for event in self._lines.fed(message.get("body", b"")):
                await self._heard(event)
        else:
            self._body += message.get("body", b"")

    async def _heard(self, event: Mapping[str, Any] | None) -> None:
        """One message of a stream; `None` is a comment, which keeps it open."""
        if event is not None and "method" not in event:
            self._last = event
        elif self._events and event is None:
            await self._say(b": ping\n\n")
        elif self._events and event is not None:
            name = "progress" if event["method"] == "notifications/progress" else "notification"
            params = {each: value for each, value in event.get("params", {}).items() if each != "_meta"}
            params.pop("progressToken", None)
            await self._say(_event(name, params if name == "progress" else {**event, "params": params}))

    async def end(self) -> None:
        """Tell the outcome."""
        answered = self._last if self._last is not None else _read(self._body)
        if self._status == 0:
            raise Problem(503, "the call was cancelled, since its client left")
        problem = None
        if answered is None or self._status != 200:
            problem = self._problem(answered)
        if problem is not None and not self._begun:
            raise problem
        outcome = problem.document() if problem is not None else _outcome(answered or {})
        if self._events:
            await self._say(_event("outcome" if problem is None else "problem", outcome))
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await Response(to_json(outcome), headers={"cache-control": "no-store"}, media_type="application/json")(
            {"type": "http"}, _nothing, self._send
        )

    def _problem(self, answered: Mapping[str, Any] | None) -> Problem:
        error: Mapping[str, Any] = (answered or {}).get("error", {})
        said = str(error.get("message", "")) or "the call ended without an answer; it may have had effects"
        if self._status == 200:
            return Problem(502, said)
        if said == f"Unknown tool: {self._tool}":
            return not_found("tool", self._tool)
        kept: dict[str, str] = {
            name: self._headers[name] for name in ("www-authenticate", "retry-after") if name in self._headers
        }
        return Problem(422 if self._status == 400 else self._status, said, headers=kept)

    async def _say(self, event: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _OF_STREAM})
        await self._send({"type": "http.response.body", "body": event, "more_body": True})


class _Lines:
    """Reads the messages of a stream of server-sent events as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def fed(self, chunk: bytes) -> Iterator[Mapping[str, Any] | None]:
        """What is complete by now; `None` for a comment."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in (each.removesuffix(b"\r") for each in lines):
            if line.startswith(b":"):
                yield None
            elif line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:"))
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                yield _read(data)


def _read(data: bytes) -> Mapping[str, Any] | None:
    found: Any = json.loads(data) if data.strip() else None
    return found if isinstance(found, dict) else None


def _outcome(answered: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in answered:
        return {"outcome": "error", "error": answered["error"]}
    result = answered["result"]
    if result.get("resultType") == "input_required":
        return {"outcome": "input_required", "result": result}
    return {"outcome": "failed" if result.get("isError") else "completed", "result": result}


def _event(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(data))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
