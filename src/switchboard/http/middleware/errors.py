"""The last boundary: what an endpoint raises becomes an answer, never a stack trace and never a hang.

| raised | answer |
|---|---|
| `StateUnavailable`, `AuthorizationUnavailable` | 503 with `Retry-After` |
| `StateBusy` | 503 with `Retry-After`, naming the setting to raise |
| `SessionGone` | 404 |
| `UnknownSelection` | 404, naming the presets that there are |
| `TooMany` | 429 with `Retry-After`, naming the limit |
| anything else | 500, logged with its traceback |

An error after the answer began cannot be answered any more: it goes on to the server, which closes the connection.
"""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.catalog import UnknownSelection
from switchboard.errors import AuthorizationUnavailable, SessionGone, StateBusy, StateUnavailable, TooMany
from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.responses import refuse

log = structlog.get_logger(__name__)

_RETRY = ((b"retry-after", str(RETRY_AFTER).encode()),)
_ANSWERS: tuple[tuple[type[Exception], int, str, tuple[tuple[bytes, bytes], ...]], ...] = (
    (StateBusy, 503, "", _RETRY),
    (StateUnavailable, 503, "Shared state is unavailable now; try again soon", _RETRY),
    (AuthorizationUnavailable, 503, "Authorization is unavailable now; try again soon", _RETRY),
    (SessionGone, 404, "Session not found", ()),
    (UnknownSelection, 404, "", ()),
    (TooMany, 429, "", _RETRY),
)
"""What is answered; an empty message stands for the error's own, which is meant for the client."""


class ErrorBoundary:
    """Wraps an endpoint, inside any framework's own error pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:  # the boundary between our rooms and the network
            if begun or scope["type"] == "lifespan":
                raise
            await answer(error, scope, send)


async def answer(error: Exception, scope: Scope, send: Send) -> None:
    """Answer what an endpoint raised before it answered itself; called while the error is handled."""
    for kind, status, message, headers in _ANSWERS:
        if isinstance(error, kind):
            log.warning("request.failed", status=status, reason=str(error))
            await refuse(scope, send, status, message or str(error), headers=headers)
            return
    log.exception("request.failed", status=500)
    await refuse(scope, send, 500, "Internal error")
