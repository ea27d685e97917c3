"""Idempotency keys: a POST that is repeated with the same key is done once, and answered as it was the first time.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from switchboard.admin.access import Access
from switchboard.admin.problems import unavailable
from switchboard.common.problem_details import Problem
from switchboard.errors import StateUnavailable
from switchboard.identity import current
from switchboard.state import State

HEADER: Final = "Idempotency-Key"
LONGEST: Final = 200
KEPT_S: Final = 86_400
RUNNING_S: Final = 60
"""How long a request that never ended, because its worker died, holds its key."""

LARGEST_ANSWER: Final = 65_536
"""Bytes; a longer one is not kept, and its key is refused with 409 from then on."""


class Idempotency:
    """Middleware of the API.

    Args:
        access: refuses who lacks the scope, before a kept answer is given; a refusal for want of it is not kept.
    """

    def __init__(self, state: State, access: Access) -> None:
        self._state = state
        self._access = access

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Serve a request, or give what was answered before."""
        given = request.headers.get(HEADER)
        if given is None or request.method != "POST":
            return await call_next(request)
        if not 0 < len(given) <= LONGEST:
            return Problem(422, f"{HEADER} has 1 to {LONGEST} characters").response()
        try:
            await self._access(request)
            return await self._once(request, given, call_next)
        except Problem as refused:
            return refused.response()
        except StateUnavailable as error:
            return unavailable(error)

    async def _once(
        self, request: Request, given: str, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        owner = f"{current().principal.owner}\n{given}"
        key = self._state.keys.idempotency(hashlib.sha256(owner.encode()).hexdigest())
        asked = await self._fingerprint(request)
        running = json.dumps({"asked": asked})
        with self._state.guard():
            first = await self._state.redis.set(key, running, nx=True, ex=RUNNING_S)
            before = None if first else await self._state.redis.get(key)
        if not first:
            return self._again(json.loads(before) if before else {"asked": asked}, asked)
        try:
            answer = await call_next(request)
            body = b"".join([bytes(part) async for part in answer.body_iterator])  # type: ignore[attr-defined]
        except BaseException:
            with self._state.guard():
                await self._state.redis.delete(key)
            raise
        kept: dict[str, Any] = {"asked": asked, "status": answer.status_code, "headers": dict(answer.headers)}
        kept["body"] = body.decode() if len(body) <= LARGEST_ANSWER else None
        with self._state.guard():
            if answer.status_code >= 500:  # nothing was decided: it may be tried again
                await self._state.redis.delete(key)
            else:
                await self._state.redis.set(key, json.dumps(kept), ex=KEPT_S)
        return Response(body, answer.status_code, dict(answer.headers))

    async def _fingerprint(self, request: Request) -> str:
        asked = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
        asked.update(await request.body())
        return asked.hexdigest()

    def _again(self, before: dict[str, Any], asked: str) -> Response:
        if before["asked"] != asked:
            return Problem(422, f"this {HEADER} was used for another request").response()
        if "status" not in before:
            return Problem(409, "the first request with this key is still being served: ask again soon").response()
        if before["body"] is None:
            return Problem(409, "that was done; its answer was too long to keep").response()
        return Response(before["body"], before["status"], before["headers"])
