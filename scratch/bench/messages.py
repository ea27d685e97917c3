"""Requests of both eras as bytes; and what is sent once: to open a session, to see whether a server is there."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from scratch.bench.install import Unavailable
from scratch.bench.load import Ask, Ready
from tools.fleet.children import LOOPBACK

MODERN: Final = "2026-07-28"
HANDSHAKE: Final = "2025-11-25"
ENVELOPE: Final[Mapping[str, Any]] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True)
class Client:
    """Who sends: where to, signed in or not, in a session or, with `modern`, without."""

    port: int
    path: str = "/mcp"
    modern: bool = False
    token: str = ""
    session: str = ""
    version: str = HANDSHAKE

    def ask(self, method: str, params: Mapping[str, Any] | None = None, *, id: int | None = 1, **expected: Any) -> Ask:
        """A request; without `id` a notification."""
        given = dict(params or {})
        if self.modern:
            given["_meta"] = {**ENVELOPE, **given.get("_meta", {})}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        message |= {} if id is None else {"id": id}
        message |= {"params": given} if given else {}
        body = json.dumps(message, separators=(",", ":"))
        headers = {
            "Host": f"{LOOPBACK}:{self.port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **self._identity(method, str(given.get("name", ""))),
            "Content-Length": str(len(body)),
        }
        return Ask(_bytes("POST", self.path, headers) + body, **expected)

    def _identity(self, method: str, name: str) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.modern:
            found |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            return found | ({"Mcp-Name": name} if name else {})
        if self.session:
            found["Mcp-Session-Id"] = self.session
        return found | ({} if method == "initialize" else {"MCP-Protocol-Version": self.version})

    def call(self, tool: str, text: str, *, id: int = 1, meta: Mapping[str, Any] | None = None, said: str = "") -> Ask:
        """`tools/call` with a text that the answer must hold."""
        params = {"name": tool, "arguments": {"message": text}, **({"_meta": dict(meta)} if meta else {})}
        return self.ask("tools/call", params, id=id, holds=((said or '"{}"').format(text),))

    def stream(self) -> bytes:
        """The GET that opens a session's standalone stream."""
        headers = {"Host": f"{LOOPBACK}:{self.port}", "Accept": "text/event-stream", **self._identity("", "")}
        return _bytes("GET", self.path, headers).encode()

    def opened(self) -> Client:
        """This one with a session, if its server gives one."""
        hello = {"protocolVersion": self.version, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        answer = sent_once(self.port, self.ask("initialize", hello))
        client = replace(self, session=answer.session)
        sent_once(self.port, client.ask("notifications/initialized", id=None, status=202))
        return client


@dataclass(frozen=True)
class Answer:
    """What one request got."""

    status: int
    session: str
    body: str


def _bytes(method: str, path: str, headers: Mapping[str, str]) -> str:
    return "".join(
        [f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]
    )


def sent_once(port: int, ask: Ask, timeout: float = 30) -> Answer:
    """Send one request, and take its answer.

    Raises:
        Unavailable: it was not the answer that it must be.
        OSError: there was none.
    """
    with socket.create_connection((LOOPBACK, port), timeout) as connection:
        connection.sendall(ask.sent.encode("latin-1"))
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error) or type(error).__name__) from error
    got = b"HTTP/1.1 %d \r\n" % response.status + body
    if not Ready(ask).is_answered_by(got):
        raise Unavailable(f"answers {response.status}: {body[:200].decode(errors='replace')}")
    return Answer(response.status, response.headers.get("Mcp-Session-Id") or "", body.decode(errors="replace"))


def is_answered(port: int, ask: Ask) -> bool:
    """Whether a request is answered as it must be, now."""
    with contextlib.suppress(OSError, Unavailable):
        sent_once(port, ask, timeout=5)
        return True
    return False
