"""A handshake server over HTTP that keeps sessions, shows what became of them, and speaks on their GET streams."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("count", "roots", "fail", "slow", "streams")]


@dataclass
class Session:
    """One, as the server sees it."""

    calls: int = 0
    said: list[tuple[int, str]] = field(default_factory=list)
    answers: dict[Any, asyncio.Future[Any]] = field(default_factory=dict)
    streams: int = 0
    resumed: list[str] = field(default_factory=list)
    """What came as `Last-Event-ID`."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, message: dict[str, Any]) -> None:
        """Speak on the GET stream, or to whoever resumes it."""
        self.said.append((len(self.said) + 1, json.dumps({"jsonrpc": "2.0", **message})))
        self.changed.set()


class Stateful:
    """The server; `unknown` is how it answers a session that it does not know, `opening` what a stream waits for."""

    def __init__(self, unknown: int = 404, get: int = 200, opening: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.sessions: dict[str, Session] = {}
        self.made: list[str] = []
        self.ended: list[str] = []
        self.called: list[str] = []
        self._unknown = unknown
        self._get = get
        self._opening = opening
        self._numbers = itertools.count(1)
        self._questions = itertools.count(1)
        self.app = Starlette(routes=[Route("/mcp", self._serve, methods=["GET", "POST", "DELETE"])])

    async def _serve(self, request: Request) -> Response:
        sid = request.headers.get("mcp-session-id", "")
        session = self.sessions.get(sid)
        if request.method == "POST":
            message = json.loads(await request.body())
            if message.get("method") == "initialize":
                return self._initialized(message)
            if message.get("method") == "server/discover":
                return JSONResponse({"error": "what?"}, 400)
        if session is None:
            return JSONResponse({"error": "no such session"}, self._unknown)
        if request.method == "DELETE":
            self.ended.append(sid)
            del self.sessions[sid]
            session.changed.set()
            return Response(status_code=204)
        if request.method == "GET":
            if self._opening is not None:
                await self._opening()
            return self._stream(sid, session, request)
        return await self._posted(session, message)

    def _initialized(self, message: dict[str, Any]) -> Response:
        sid = f"s{next(self._numbers)}"
        self.sessions[sid] = Session()
        self.made.append(sid)
        info = {"name": "stateful", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers={"mcp-session-id": sid})

    def _stream(self, sid: str, session: Session, request: Request) -> Response:
        if self._get != 200 or session.streams:
            return Response(status_code=self._get if self._get != 200 else 409)
        last = request.headers.get("last-event-id")
        if last:
            session.resumed.append(last)
        session.streams += 1

        async def events() -> AsyncIterator[str]:
            seen = int(last or 0)
            try:
                yield ": hello\n\n"
                while sid in self.sessions:
                    session.changed.clear()
                    for number, text in session.said[seen:]:
                        yield f"id: {number}\ndata: {text}\n\n"
                        seen = number
                    await session.changed.wait()
            finally:
                session.streams -= 1

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _posted(self, session: Session, message: dict[str, Any]) -> Response:
        if "method" not in message:
            session.answers[message["id"]].set_result(message)
            return Response(status_code=202)
        if "id" not in message:
            return Response(status_code=202)
        results = {"tools/list": {"tools": TOOLS}, "ping": {}}
        if message["method"] == "tools/call":
            return await self._call(session, message)
        result = results.get(message["method"], {})
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async def _call(self, session: Session, message: dict[str, Any]) -> Response:
        name = message["params"]["name"]
        self.called.append(name)
        session.calls += 1
        text = str(session.calls)
        if name == "fail":
            error = {"code": -32000, "message": "no luck"}
            return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error})
        if name == "streams":
            text = str(session.streams)
        if name == "roots":
            number = next(self._questions)
            session.answers[number] = asyncio.get_running_loop().create_future()
            session.say({"id": number, "method": "roots/list"})
            answer = await session.answers[number]
            text = json.dumps(answer.get("result", answer.get("error")))
        content = [{"type": "text", "text": text}]
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}})
