"""`/mcp?preset=dev&tags=web,!danger`: what a URL asks for holds for everything that is done for its requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.catalog import UnknownSelection
from switchboard.http.responses import refuse

Serving = Callable[[bytes], AbstractContextManager[None]]
"""A query → a context in which handlers see what it selects. Raises `UnknownSelection`."""


class Selecting:
    """Wraps an endpoint. A preset that there is not is a URL that there is not: 404, naming those that there are."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self.app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as selected:
            try:
                selected.enter_context(self._serving(scope["query_string"]))
            except UnknownSelection as error:
                await refuse(scope, send, 404, str(error))
                return
            await self.app(scope, receive, send)
