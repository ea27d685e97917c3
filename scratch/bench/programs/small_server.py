"""The smallest server that gateways accept as a backend, of both eras: `small_server.py PORT`, or `… stdio`.

It stands behind every gateway of a row and must never be what limits it: over HTTP it answers more than 10,000 calls a
second, as a child a line in some 10 µs. It has one tool, `echo`, and keeps no session.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

ECHO: Final = {
    "name": "echo",
    "description": "Say it again.",
    "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    "annotations": {"readOnlyHint": True},
}
INFO: Final = {"name": "small", "version": "1.0.0"}
OFFERED: Final[dict[str, Any]] = {"tools": {}}
CACHED: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
EMPTY: Final = {
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}

Message = MutableMapping[str, Any]


def result(method: str, params: dict[str, Any], modern: bool) -> dict[str, Any] | None:
    """What a request gets; `None`: there is no such method."""
    more = CACHED if modern else {}
    if method == "tools/call":
        text = str(params.get("arguments", {}).get("message"))
        ends = {"resultType": "complete"} if modern else {}
        return {"content": [{"type": "text", "text": text}], "isError": False, **ends}
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": OFFERED, "serverInfo": INFO}
    if method == "server/discover":
        return {"supportedVersions": ["2026-07-28"], "capabilities": OFFERED, "serverInfo": INFO, **CACHED}
    if method == "tools/list":
        return {"tools": [ECHO], **more}
    if method in EMPTY:
        return {EMPTY[method]: [], **more}
    return {} if method == "ping" else None


def answer(line: bytes | str) -> bytes | None:
    """The answer to one message; `None`: it was a notification, or an answer."""
    message = json.loads(line)
    method = message.get("method")
    if method is None or "id" not in message:
        return None
    params = message.get("params") or {}
    found = result(method, params, "io.modelcontextprotocol/protocolVersion" in params.get("_meta", {}))
    said: Any = {"error": {"code": -32601, "message": "no such method"}} if found is None else {"result": found}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}, separators=(",", ":")).encode()


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The same over HTTP: a POST is answered as JSON, and nothing else is there."""
    if scope["type"] != "http":
        return None
    if scope["method"] != "POST":
        return await _respond(send, 200 if scope["method"] == "DELETE" else 405, b"")
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    said = answer(body)
    return await _respond(send, 202 if said is None else 200, said or b"")


HEADERS: Final = [(b"content-type", b"application/json"), (b"mcp-session-id", b"6d6f6d656e74")]


async def _respond(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": body})


def on_lines() -> None:
    """A child: a message a line."""
    for line in sys.stdin.buffer:
        said = answer(line)
        if said is not None:
            sys.stdout.buffer.write(said + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        on_lines()
    else:
        import uvicorn

        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
