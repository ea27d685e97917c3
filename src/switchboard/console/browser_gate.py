"""What stands between a signed-in browser and an ASGI application of this server: the session, in place of a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.account.browser import origin
from switchboard.account.errors import Api
from switchboard.account.sessions import Session, Sessions
from switchboard.common.problem_details import Problem
from switchboard.identity import Caller, serving

CSRF_HEADER: Final = b"x-csrf-token"
SAFE: Final = frozenset({"GET", "HEAD"})
KEPT_BACK: Final = frozenset({b"authorization", b"cookie", CSRF_HEADER})
"""Headers that `app` does not get: what says who the browser is."""

Admit = Callable[[Session], Awaitable[None]]
"""Counts a request of this session; raises `RateLimited`."""


class BrowserGate:
    """Serves `app` as the person of the browser's session; what changes something has to bring its CSRF token.

    Args:
        app: gets the request with the session's principal as its caller.
        sessions: who is signed in.
        base_uri: of this server; a request that names another origin is refused.
        admit: see `Admit`.
        token: gives the access token that the request is to carry, for an `app` that asks for one; `None` for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        base_uri: str,
        admit: Admit,
        token: Callable[[Session], Awaitable[str]] | None = None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._origin = origin(base_uri).lower()
        self._admit = admit
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Api(self._respond)(scope, receive, send)
        elif scope["type"] == "websocket":  # none of what stands behind it speaks that
            await send({"type": "websocket.close", "code": 1008})

    async def _respond(self, request: Request) -> Response:
        session = await self._session(request)
        await self._admit(session)
        headers = [(name, value) for name, value in request.scope["headers"] if name not in KEPT_BACK]
        if self._token is not None and (token := await self._token(session)):
            headers.append((b"authorization", f"Bearer {token}".encode("ascii")))
        return _Served(self._app, session, headers)

    async def _session(self, request: Request) -> Session:
        """Whose request it is.

        Raises:
            Problem: 401, nobody's; 403, it is not of one of our pages.
        """
        session = await self._sessions.find(request)
        if session is None:
            raise Problem(401, "you are not signed in any more: load the page again to sign in")
        sent_from = request.headers.get("origin")
        if sent_from is not None and sent_from.lower() != self._origin:
            raise Problem(403, "the request came from a page of another site")
        if request.method not in SAFE and not session.sent_by(request.headers.get(CSRF_HEADER.decode(), "")):
            raise Problem(403, "the page is too old, or of somebody else's session: load it again")
        return session


class _Served(Response):
    """What the application answers."""

    def __init__(self, app: ASGIApp, session: Session, headers: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._session = session
        self._sent = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with serving(Caller(self._session.principal)):
            await self._app({**scope, "headers": self._sent}, receive, send)
