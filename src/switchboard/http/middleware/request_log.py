"""A name for every request, and one log line when it is over: the access log, without queries, tokens or bodies.

A person has one name in it: the subject of their token, as in the authorization server's events.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.http.middleware.access import About, ToolOf, as_named, word
from switchboard.http.middleware.guards import PROBES
from switchboard.http.middleware.tracing import HttpSpan
from switchboard.identity import Principal
from switchboard.log import put, request_id
from switchboard.telemetry import spans
from switchboard.telemetry.metrics import request_served

log = structlog.get_logger(__name__)

HEADER = b"x-request-id"
_LONGEST = 64
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
_DRAWN: Final = 256
"""Ids that are drawn at once."""
_ABORTED = 499
"""The status in the log of a request whose client left before it was answered, as nginx has it."""


class RequestLog:
    """Binds `request_id` to everything that is logged meanwhile, returns it, and logs how the request ended."""

    def __init__(self, app: ASGIApp, probes: frozenset[str] = PROBES, tool_of: ToolOf = as_named) -> None:
        self.app = app
        self._tool_of = tool_of
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        about = About(self._tool_of)
        if spans.on() and scope["type"] == "http" and scope["path"] not in self._probes:
            about.span = HttpSpan(scope)
        scope.setdefault("state", {})["about"] = about
        name = named(next((value for name, value in scope["headers"] if name == HEADER and _is_plain(value)), None))
        answer = _Answer(send, name)
        bound = request_id.set(name.decode("ascii"))
        try:
            await self.app(scope, receive, answer)
        except Exception:
            answer.status = answer.status or 500
            raise
        finally:
            log_request(scope, about, answer.status, time.perf_counter() - began, probe=scope["path"] in self._probes)
            request_id.reset(bound)


class _Answer:
    """The way out: remembers the status, adds the request's id."""

    __slots__ = ("_name", "_send", "status")

    def __init__(self, send: Send, name: bytes) -> None:
        self._send = send
        self._name = name
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), (HEADER, self._name)]}
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)


_fresh: Final[list[bytes]] = []
os.register_at_fork(after_in_child=_fresh.clear)


def named(sent: bytes | None) -> bytes:
    """The caller's own id when it is plain, so that a trace can cross machines; else a fresh one of 64 random bits."""
    if sent is not None and _is_plain(sent):
        return sent
    if not _fresh:  # some hundred are drawn at once: asking the system is dear
        drawn = secrets.token_hex(8 * _DRAWN).encode("ascii")
        _fresh.extend(drawn[at : at + 16] for at in range(0, len(drawn), 16))
    return _fresh.pop()


def _is_plain(name: bytes) -> bool:
    return 0 < len(name) <= _LONGEST and not name.translate(None, _PLAIN)


def log_request(scope: Scope, about: About, status: int, seconds: float, *, probe: bool = False) -> None:
    """Log and count how a request ended; a status of 0 for one that was not answered."""
    if about.span is not None:
        about.span.end(status, about.fields.get("backend", ""))
    if not probe:
        _count(scope, about, status, seconds)
    level, method = (logging.DEBUG, "debug") if probe else (logging.INFO, "info")
    if log.bind().is_enabled_for(level):
        put(log, method, _told(scope, about, status or _ABORTED, seconds))


def _count(scope: Scope, about: About, status: int, seconds: float) -> None:
    fields = about.fields
    rpc = fields.get("rpc") or ("batch" if fields else "http" if scope["type"] == "http" else "websocket")
    outcome = "left" if not status else "ok" if status < 400 else "refused" if status < 500 else "failed"
    request_served(rpc, outcome, seconds, about.era, fields.get("backend", ""))


def _told(scope: Scope, about: About, status: int, seconds: float) -> dict[str, Any]:
    """Its parts for machines; `event` is the line as people read it: `tools/call whoami 200 8 ms alice`."""
    method, path, taken = scope.get("method", "WEBSOCKET"), scope["path"], seconds * 1000
    parts = {"method": method, "path": path, "status": status, "duration_ms": round(taken, 1), **about.fields}
    line = f"{about.text or f'{method} {word(path)}'} {status} {taken:.0f} ms"
    principal = scope["state"].get("principal")
    if isinstance(principal, Principal):
        person = parts["person"] = word(principal.subject)
        line = f"{line} {person}"
    if client := scope.get("client"):
        parts["client"] = client[0]
    parts["event"] = line
    return parts
