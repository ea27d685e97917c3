"""Calls of a plugin that need a credential of their person, who has entered none, or not signed in yet.

The person is asked for it (`switchboard.outbound_auth.asking`); then the plugin is called anew, from the start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST
from pydantic import BaseModel

from switchboard.errors import NotConnected
from switchboard.identity import current
from switchboard.outbound_auth.asking import MOST_ASKED, AskedClient, People, WaitingRequest, with_link, without_answer
from switchboard.plugins.api import EVERYBODY, TOKENS, AuthRequirement, Credentials, PersonNotConnected

ClientOf = Callable[[ServerRequestContext[Any, Any]], AskedClient]
"""Gives the client of a request."""


class Unasked:
    """A client that nothing can be asked. Satisfies `AskedClient`."""

    era: Literal["handshake", "modern"] = "handshake"

    def __init__(self, _ctx: ServerRequestContext[Any, Any]) -> None:
        self.capabilities: Mapping[str, Any] = {}

    async def ask(self, method: str, params: Mapping[str, Any] | None) -> Any:
        """Refuse."""
        raise refused(f"{method} cannot be asked of this client")

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Nobody listens."""


Serve = Callable[[], Awaitable[HandlerResult]]
"""Has the plugin serve the request, each time from the start; raises `NotConnected`."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """Has the people of one plugin asked for what it needs of them.

    Args:
        auth: what can be asked for.
        credentials: the plugin's own.
        people: how they are asked; without it they are told what is missing, and no more.
        client: gives the client that is asked, where the plugin is called with the context of a request.
    """

    auth: AuthRequirement | None = None
    credentials: Credentials | None = None
    people: People | None = None
    client: ClientOf = Unasked

    async def handled(
        self,
        handle: Callable[[BaseModel], Awaitable[HandlerResult]],
        method: str,
        ctx: ServerRequestContext[Any, Any],
        params: BaseModel,
        missing: NotConnected | None = None,
    ) -> HandlerResult:
        """`served`, of a request in its context; `handle` gets the parameters without what was answered to us."""
        others, answer = without_answer(getattr(params, "input_responses", None))
        if answer is not None:
            params = params.model_copy(update={"input_responses": others})
            answer = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        request = WaitingRequest(method, self.client(ctx), refused, getattr(params, "request_state", None))
        return await self.served(partial(handle, params), request, answer=answer, missing=missing)

    async def served(
        self, serve: Serve, request: WaitingRequest, *, answer: Any = None, missing: NotConnected | None = None
    ) -> HandlerResult:
        """Serve a request; where something is missing, ask for it, and serve it anew.

        Args:
            answer: what the person said when asked in an earlier round.
            missing: what was missing when it was served already.

        Raises:
            MCPError: it is no request of a tool, and something is missing still.
        """
        for _ in range(MOST_ASKED):
            if missing is None:
                try:
                    return await serve()
                except NotConnected as error:
                    missing = error
            if self.people is None or not self._can_be_asked(missing):
                return self._told(request, missing)
            result = await request.ask(self.people, missing, answer, partial(self._is_there, missing))
            if result is not None:
                return result
            missing, answer = None, None
        try:
            return await serve()
        except NotConnected as error:
            return self._told(request, error)

    def _can_be_asked(self, missing: NotConnected) -> bool:
        """Whether it is the caller's to give, on the page of connections."""
        if not isinstance(missing, PersonNotConnected) or missing.person != current().principal.person:
            return False
        if self.auth is None or self.credentials is None:
            return False
        fields = {field.name for field in self.auth.fields}
        return self.auth.kind == "oauth2" if missing.credential == TOKENS else missing.credential in fields

    async def _is_there(self, missing: NotConnected) -> bool:
        if not isinstance(missing, PersonNotConnected) or self.credentials is None:
            return False
        if missing.credential == TOKENS:
            return (await self.credentials.token_info(missing.person)).state == "connected"
        own = await self.credentials.get(missing.credential, missing.person)
        return own is not None or await self.credentials.get(missing.credential, EVERYBODY) is not None

    def _told(self, request: WaitingRequest, missing: NotConnected) -> HandlerResult:
        if self.people is None:
            return request.told(missing.reason)
        return request.told(with_link(missing, self.people.link(missing.person, missing.name)))


def refused(text: str) -> MCPError:
    """The error of a request that lacks something of its person."""
    return MCPError(INVALID_REQUEST, text)
