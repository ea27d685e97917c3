"""Two applications over one state: one decides in one pass, the other by the table of middleware."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from auth_server import AuthorizationServer
from auth_server.crypto import new_family
from auth_server.store import Issued
from switchboard.app import Application, build
from switchboard.authorization import issuing_settings
from switchboard.common.http_bounds import WHOLE_RESPONSE
from switchboard.http.one_pass import OnePass
from switchboard.identity import current
from switchboard.settings import Settings, load_settings

BASE = "http://localhost:3232"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
Pairs = tuple[tuple[bytes, bytes], ...]


def message(method: str, params: dict[str, Any] | None = None, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}).encode()


CALL = message("tools/call", {"name": "echo", "arguments": {"message": "hello"}, "_meta": META})
OLD_CALL = message("tools/call", {"name": "echo", "arguments": {"message": "hello"}})
INITIALIZE = message(
    "initialize",
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
)
MODERN: Pairs = (
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"echo"),
)


@dataclass(frozen=True)
class Asked:
    """A request. `TOKEN`, `OTHER`, `NARROW` and `SESSION` in a header stand for real ones."""

    body: bytes = CALL
    headers: Pairs = MODERN
    method: str = "POST"
    path: str = "/mcp"
    query: bytes = b""
    token: bytes | None = b"Bearer TOKEN"
    host: bytes | None = b"localhost:3232"
    length: bytes | None = None
    client: tuple[str, int] | None = ("203.0.113.7", 5)
    root: str = ""


@dataclass
class Told:
    """What came of it, but for ids and times."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: Any = b""
    logged: list[Any] = field(default_factory=list)
    raised: str = ""
    at_once: bool = field(default=False, compare=False)
    """Whether the server was given the whole of it."""


@dataclass
class Taken:
    """A server that takes whole responses."""

    told: Told
    closes: bool = False

    async def __call__(self, status: int, head: bytes, body: bytes) -> None:
        lines = [line.partition(b": ") for line in head.removesuffix(b"\r\n").split(b"\r\n")]
        self.told.status, self.told.headers = status, [(name, value) for name, _, value in lines]
        self.told.headers += [(b"connection", b"close")] * self.closes
        self.told.body += body
        self.told.at_once = True

    def close(self) -> None:
        self.closes = True


CHANGES = re.compile(r"\b[0-9a-f]{16}\b|\b[0-9a-f]{48}\b|\b[0-9a-f]{8}\b|\d+ ms|in \d+ s")


def even(value: Any) -> Any:
    """Without what differs from one time to the next."""
    if isinstance(value, bytes):
        return CHANGES.sub("*", value.decode("latin-1")).encode("latin-1")
    if isinstance(value, str):
        return CHANGES.sub("*", value)
    if isinstance(value, Mapping):
        timed = ("duration_ms", "wait_s", "exception", "exc_info")
        return {key: "*" if key in timed else even(each) for key, each in value.items()}
    return [even(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass
class World:
    """A worker, and who may call it."""

    app: Application
    settings: Settings
    front: OnePass
    names: dict[bytes, bytes] = field(default_factory=dict)
    aside: int = 0
    """How many requests went to the table."""

    async def mint(self, name: bytes, subject: str, scope: str = "mcp") -> None:
        """A token, as the authorization server issues it."""
        issuing, state = issuing_settings(self.settings), self.app.rooms.state
        access = AuthorizationServer(issuing, state.redis, prefix=state.prefix)._shared.access
        family, now = new_family(), int(time.time())
        token = access._ring.mint("access", family)
        claims = {"iss": issuing.issuer, "sub": subject, "client_id": "c", "scope": scope, "iat": now}
        claims |= {"aud": self.settings.mcp_url, "exp": now + 3600}
        assert await access.issue(Issued(family, token, claims, None, {}))
        self.names[name] = token.encode()

    async def open_session(self) -> None:
        """A new session, whose id is `SESSION`."""
        opened = await self.send(self.front.table, Asked(INITIALIZE, ()), named=False)
        self.names[b"SESSION"] = dict(opened.headers)[b"mcp-session-id"]

    def scope(self, asked: Asked) -> Scope:
        headers = list(asked.headers)
        headers += [(b"content-type", b"application/json")] * (b"content-type" not in dict(headers))
        headers += [(b"accept", b"application/json, text/event-stream")] * (b"accept" not in dict(headers))
        headers += [(b"host", asked.host)] if asked.host is not None else []
        headers += [(b"authorization", asked.token)] if asked.token is not None else []
        if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
            headers.append((b"content-length", asked.length or str(len(asked.body)).encode()))
        for name, value in self.names.items():
            headers = [(key, given.replace(name, value)) for key, given in headers]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "server": ("localhost", 3232),
            "scheme": "http",
            "client": asked.client,
            "method": asked.method,
            "root_path": asked.root,
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "query_string": asked.query,
            "headers": headers,
            "state": {},
        }

    async def send(self, app: ASGIApp, asked: Asked, *, named: bool = True, at_once: bool = False) -> Told:
        """What one way answers and logs; streams are left after their first event.

        Args:
            at_once: whether the server takes whole responses at once.
        """
        told, left, body, ended = Told(), asyncio.Event(), [asked.body], asyncio.Event()

        async def receive() -> Message:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(sent: Message) -> None:
            if sent["type"] == "http.response.start":
                told.status, told.headers = sent["status"], sent["headers"]
            else:
                told.body += sent.get("body", b"")
                if told.body or not sent.get("more_body"):
                    ended.set()
                    left.set()

        taken = {WHOLE_RESPONSE: Taken(told)}
        async with asyncio.timeout(120):
            with capture_logs() as logged:
                try:
                    await app({**self.scope(asked), **({"extensions": taken} if at_once else {})}, receive, send)
                except Exception as error:
                    told.raised = repr(error)
        if named:
            told.headers = even(told.headers)
            told.logged = even(logged)
            told.body = even(told.body)
        assert "request_id" not in get_contextvars()
        assert current().principal.subject == "anonymous"
        return told

    async def both(self, asked: Asked, *, fresh: bool = False) -> tuple[Told, Told, bool]:
        """Through the one pass, through the table, and whether the one pass served it."""
        if fresh:
            await self.open_session()
        aside = self.aside
        one = await self.send(self.front, asked)
        short = self.aside == aside
        if fresh:
            await self.open_session()
        return one, await self.send(self.front.table, asked), short


@asynccontextmanager
async def opened(**given: Any) -> AsyncIterator[World]:
    """A worker in this process."""
    values = {"auth_mode": "integrated", "base_uri": BASE, "secret_key": "0" * 48, "rate_limit": 0} | given
    settings = load_settings(None, **values)
    app = build(settings)
    async with app._run(app._lifespan):
        front = app._served
        assert isinstance(front, OnePass)
        world, table = World(app, settings, front), front.table

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            world.aside += 1
            await table(scope, receive, send)

        front.table = counted
        if settings.auth_mode == "integrated":
            await world.mint(b"TOKEN", "alice")
            await world.mint(b"OTHER", "bob")
            await world.mint(b"NARROW", "alice", "mcp:prompts")
        yield world


IN_SESSION: Pairs = ((b"mcp-session-id", b"SESSION"), (b"mcp-protocol-version", b"2025-11-25"))
NOTIFICATION = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
