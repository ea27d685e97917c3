"""Errors as problem details (RFC 9457): the one form in which programs are told what was wrong.

A problem has no type of its own: the status says what it is, `detail` what was wrong and what to do. Members besides
say more: where in the request each mistake is, or what is there now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE: Final = "application/problem+json"

_REPLACED: Final = frozenset({b"content-type", b"content-length"})


class Problem(Exception):
    """Ends a request with a problem.

    Args:
        headers: of the answer, besides `Cache-Control: no-store`.
        members: what the document says besides; what is empty is left out.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers: Mapping[str, str] = headers or {}
        self.members = {name: value for name, value in members.items() if value is not None and value not in ([], ())}

    def document(self) -> dict[str, Any]:
        """As it is said."""
        title = HTTPStatus(self.status).phrase
        said = {"detail": self.detail} if self.detail else {}
        return {"title": title, "status": self.status, **said, **self.members}

    def response(self) -> Response:
        """As it is sent."""
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(to_json(self.document()), self.status, headers=headers, media_type=MEDIA_TYPE)


class AsProblems:
    """Stands around an application whose guards answer in another form: what they refuse is a problem, too.

    The status and all headers stay, `WWW-Authenticate` and `Retry-After` among them. WebSockets are left alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _Rewriting(send) if scope["type"] == "http" else send)


class _Rewriting:
    """The way out of one request."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_foreign(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._rewritten(self._start)

    async def _rewritten(self, start: Message) -> None:
        body = to_json(Problem(start["status"], _said(self._body)).document())
        kept = [each for each in start["headers"] if each[0].lower() not in _REPLACED]
        fixed = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        await self._send({**start, "headers": [*fixed, *kept]})
        await self._send({"type": "http.response.body", "body": body})


def _is_foreign(start: Message) -> bool:
    """Whether an answer is an error in another form."""
    types = [value for name, value in start.get("headers", ()) if name.lower() == b"content-type"]
    return start["status"] >= 400 and not any(each.startswith(MEDIA_TYPE.encode()) for each in types)


def _said(body: bytes) -> str:
    """What a refusal says: the message of a JSON-RPC error, or a text."""
    try:
        document: Any = json.loads(body)
        return str(document["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
