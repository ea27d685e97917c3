"""The SDK's own entry for 2026-07-28, held to what our streams are held to: a request ends with its token, and no
comment ends an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.http.middleware.bearer import Challenge
from switchboard.http.responses import refuse
from switchboard.identity import current

Ending = Callable[[Callable[[], Awaitable[bool]] | None, Callable[[], None]], AbstractContextManager[None]]
"""`(whether the token is good, what to call when it is no longer)` → the context in which that is looked at."""

Held = Callable[[Callable[[], None]], Callable[[], None]]
"""`(what ends a stream)` → what is called once it has ended: lists a stream of the current caller."""

PING: Final = b": ping\r\n\r\n"
"""What the SDK sends to keep a stream open."""

_REVOKED: Final = "The token was revoked, or expired, while the request was served"


def unlisted(_end: Callable[[], None]) -> Callable[[], None]:
    """Lists nothing. Satisfies `Held`."""
    return lambda: None


async def serve(
    entry: ASGIApp, ending: Ending, scope: Scope, receive: Receive, send: Send, held: Held = unlisted
) -> None:
    """Serve one POST; when its token is revoked, or its stream is ended, it is cancelled, as if its client had left."""
    serving, revoked = asyncio.current_task(), False

    def end() -> None:
        nonlocal revoked
        revoked = True
        if serving is not None:
            serving.cancel()

    answer = Answer(send, partial(held, end))
    with ending(current().still_valid, end):
        try:
            await entry(scope, receive, answer)
        except asyncio.CancelledError:
            if not revoked:
                raise
        finally:
            answer.ended()
    if revoked:
        if serving is not None:
            serving.uncancel()
        await answer.end(scope)


class Answer:
    """The way out: remembers how far the answer has come.

    Args:
        opened: called when it turns out to be a stream; gives what `ended` calls.
    """

    def __init__(self, send: Send, opened: Callable[[], Callable[[], None]]) -> None:
        self._send = send
        self._opened = opened
        self._closed: Callable[[], None] | None = None
        self.begun = False
        self._over = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            if _is_stream(message):
                self._closed = self._opened()
        elif message["type"] == "http.response.body":
            if message.get("body") == PING:
                message = {**message, "body": PING.removesuffix(b"\r\n")}
            self._over = not message.get("more_body", False)
        await self._send(message)

    def ended(self) -> None:
        """Nothing more comes."""
        if self._closed is not None:
            self._closed()

    async def end(self, scope: Scope) -> None:
        """End a stream that was begun; refuse what was not answered yet."""
        if not self.begun:
            challenge = scope.get("state", {}).get("challenge")
            headers = [(b"www-authenticate", challenge.invalid(_REVOKED))] if isinstance(challenge, Challenge) else []
            await refuse(scope, self._send, 401, _REVOKED, headers=headers)
        elif not self._over:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"])
