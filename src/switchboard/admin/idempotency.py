"""Idempotency keys: a POST that is repeated with the same key is done once, and answered as it was the first time.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.admin.access import Access
from switchboard.admin.problems import unavailable
from switchboard.aio import background
from switchboard.common.problem_details import Problem
from switchboard.errors import StateUnavailable
from switchboard.identity import current
from switchboard.state import State

log = structlog.get_logger("switchboard.admin")

HEADER: Final = "Idempotency-Key"
LONGEST: Final = 200
KEPT_S: Final = 86_400
RUNNING_S: Final = 60
"""How long a request that never ended, because its worker died, holds its key."""

LARGEST_ANSWER: Final = 65_536
"""Bytes; a longer one is not kept, and its key is refused with 409 from then on."""


class Idempotency:
    """ASGI middleware of the API. What it serves once goes on when its client leaves, so that its answer is there.

    Args:
        access: refuses who lacks the scope, before a kept answer is given; a refusal for want of it is not kept.
    """

    def __init__(self, app: ASGIApp, state: State, access: Access) -> None:
        self._app = app
        self._state = state
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or give what was answered before."""
        given = Headers(scope=scope).get(HEADER) if scope["type"] == "http" and scope["method"] == "POST" else None
        if given is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            if not 0 < len(given) <= LONGEST:
                raise Problem(422, f"{HEADER} has 1 to {LONGEST} characters")
            await self._access(request)
            body = await request.body()
            key, asked = self._key(given), _fingerprint(request, body)
            before = await self._before(key, asked)
        except Problem as refused:
            before = refused.response()
        except StateUnavailable as error:
            before = unavailable(error)
        except ClientDisconnect:
            return
        if before is not None:
            await before(scope, receive, send)
        else:
            await self._once(key, asked, scope, body, send)

    async def _before(self, key: str, asked: str) -> Response | None:
        """The answer to an earlier request with this key; without one, the key is this request's.

        Raises:
            Problem: that is still being served, was another one, or has an answer that was not kept.
        """
        with self._state.guard():
            if await self._state.redis.set(key, json.dumps({"asked": asked}), nx=True, ex=RUNNING_S):
                return None
            found = await self._state.redis.get(key)
        return _again(json.loads(found) if found else {"asked": asked}, asked)

    async def _once(self, key: str, asked: str, scope: Scope, body: bytes, send: Send) -> None:
        """Serve it, and keep the answer; of what failed nothing was decided, so it may be tried again."""
        answer = _Kept(send)
        try:
            async with background(self._hold(key)):
                await self._app(scope, _replayed(body), answer)
        except BaseException:
            await self._keep(key, None)
            raise
        await self._keep(key, {"asked": asked, **answer.document()} if answer.status < 500 else None)
        await answer.end()

    async def _keep(self, key: str, document: dict[str, Any] | None) -> None:
        """Store what was answered, or give up the key; if Redis is away, whoever asks again waits for `RUNNING_S`."""
        try:
            with self._state.guard():
                if document is None:
                    await self._state.redis.delete(key)
                else:
                    await self._state.redis.set(key, json.dumps(document), ex=KEPT_S)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))

    async def _hold(self, key: str) -> None:
        """Keep the key of a request that takes long."""
        while True:
            await asyncio.sleep(RUNNING_S / 3)
            try:
                with self._state.guard():
                    await self._state.redis.expire(key, RUNNING_S)
            except StateUnavailable as error:
                log.warning(error.event, error=str(error))

    def _key(self, given: str) -> str:
        owner = f"{current().principal.owner}\n{given}"
        return self._state.keys.idempotency(hashlib.sha256(owner.encode()).hexdigest())


class _Kept:
    """Passes an answer on as it comes, and remembers it; its end waits until it is kept, so that whoever has seen that
    and asks again is answered.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self._headers: list[tuple[str, str]] = []
        self._body = b""
        self._length = 0
        self._last: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            part = message.get("body", b"")
            self._length += len(part)
            self._body += part if self._length <= LARGEST_ANSWER else b""
            if not message.get("more_body", False):
                self._last = message
                return
        await self._send(message)

    async def end(self) -> None:
        """Send the end of it."""
        if self._last is not None:
            await self._send(self._last)

    def document(self) -> dict[str, Any]:
        """As it is stored: without a body, if that is too long."""
        body = self._body.decode() if self._length <= LARGEST_ANSWER else None
        return {"status": self.status, "headers": dict(self._headers), "body": body}


def _again(before: dict[str, Any], asked: str) -> Response:
    if before["asked"] != asked:
        raise Problem(422, f"this {HEADER} was used for another request")
    if "status" not in before:
        raise Problem(409, "the first request with this key is still being served: ask again soon")
    if before["body"] is None:
        raise Problem(409, "that was done; its answer was too long to keep")
    return Response(before["body"], before["status"], before["headers"])


def _fingerprint(request: Request, body: bytes) -> str:
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(asked + body).hexdigest()


def _replayed(body: bytes) -> Receive:
    """Gives the body once, and never says that the client has left."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not pending:
            await asyncio.Event().wait()
        return pending.pop()

    return receive
