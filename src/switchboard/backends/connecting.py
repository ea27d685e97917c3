"""Calls that need a credential of their person: what happens when the backend refuses it, or there is none.

A call is forwarded first. Where it was refused for its credential, the backend has done nothing: the credential is
prepared anew, and the call is sent once more. Where the person has to do something, they are asked to, in the way that
their client can be asked:

* handshake era: URL elicitation (2025-11-25). The call waits meanwhile, and goes on by itself.
* modern era: an `input_required` result. Nothing is kept for the retry, which any worker serves from the start.
* a client that can do neither: a tool error with the link; an error with the link, where it is no tool.

https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#url-mode-elicitation-requests
https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ServerEvent
from mcp_types import CallToolResult, ElicitRequest, ElicitRequestURLParams, InputRequiredResult, TextContent
from mcp_types.methods import INPUT_REQUIRED_METHODS

from switchboard.aio import wait_for_event
from switchboard.backends import errors
from switchboard.backends.caller import ClientChannel
from switchboard.errors import CredentialUnavailable, NotConnected
from switchboard.identity import Caller, current
from switchboard.outbound_auth.credentials import OutboundCredentials

ASKED: Final = "switchboard.connect"
"""The name of our question among the `inputRequests` of a result."""

CONNECT_WAIT_S: Final = 300.0
"""How long a call waits for its person to connect."""

LOOK_AGAIN_S: Final = 10.0
"""How often a call that waits looks by itself, should a notice be lost."""

MOST_ASKED: Final = 2
"""How often one call asks its person."""

Forward = Callable[[str, Mapping[str, Any], ClientChannel], Awaitable[HandlerResult]]
"""Passes one request on: method, parameters, client."""


@dataclass(frozen=True, slots=True)
class People:
    """How people are asked to connect accounts, how it is heard that one did, and how they are told.

    Args:
        link: the address of the page for a person and a backend's name.
        waiting: an event that is set when that person connected to it, or may have.
        tell: tells the streams that a person, given as a digest (empty for everybody), has open on this worker.
        announce: tells every worker that a backend offers something else to a person: the person and its name.
    """

    link: Callable[[str, str], str]
    waiting: Callable[[str, str], AbstractContextManager[asyncio.Event]]
    tell: Callable[[str, ServerEvent], None]
    announce: Callable[[str, str], Awaitable[None]]


class AuthorizedForwarding:
    """Forwards the calls of one backend, with a credential of the person who makes them.

    Args:
        forward: passes a request on, as if there were no credentials.
        people: how they are asked; without it nobody is.
    """

    def __init__(self, backend: str, credentials: OutboundCredentials, forward: Forward, people: People | None) -> None:
        self._backend = backend
        self._credentials = credentials
        self._forward = forward
        self._people = people

    async def call(self, method: str, body: Mapping[str, Any], client: ClientChannel) -> HandlerResult:
        """Forward; once more, if a refusal can be mended.

        Raises:
            MCPError: the backend's own, or why it did not serve.
        """
        caller, (body, answer) = current(), _without_answer(body)
        prepared = False
        for _ in range(MOST_ASKED + 1):
            try:
                return await self._forward(method, body, client)
            except MCPError as error:
                if not errors.is_access_refused(error) or prepared:
                    raise
            result = await self.prepare(caller, method, body, client, answer)
            if isinstance(result, CallToolResult | InputRequiredResult):
                return result
            answer, prepared = None, not result
        raise errors.access_refused(self._backend, "it refuses the account that was connected")

    async def connect(self, body: Mapping[str, Any], client: ClientChannel) -> HandlerResult:
        """Serve the tool that connects.

        Raises:
            MCPError: nobody can be asked.
        """
        body, answer = _without_answer(body)
        result = await self.prepare(current(), "tools/call", body, client, answer)
        if isinstance(result, CallToolResult | InputRequiredResult):
            return result
        text = f"Connected to {self._backend}. Its tools are listed now."
        return CallToolResult(content=[TextContent(type="text", text=text)])

    async def prepare(
        self, caller: Caller, method: str, body: Mapping[str, Any], client: ClientChannel, answer: Any
    ) -> CallToolResult | InputRequiredResult | bool:
        """See to a credential: whether the person had to do something for it, or the result that asks them to.

        Args:
            answer: what the person said when asked in an earlier round.

        Raises:
            MCPError: there is none to be had.
        """
        try:
            await self._credentials.prepare(caller)
        except NotConnected as missing:
            return await self._ask(missing, caller, method, body, client, answer) or True
        except CredentialUnavailable as error:
            raise errors.access_refused(self._backend, error.reason) from error
        return False

    async def _ask(
        self,
        missing: NotConnected,
        caller: Caller,
        method: str,
        body: Mapping[str, Any],
        client: ClientChannel,
        answer: Any,
    ) -> CallToolResult | InputRequiredResult | None:
        """Ask, and wait; or the result that asks. `None` once the person has connected."""
        people = self._people
        if people is None:
            raise errors.access_refused(self._backend, missing.reason) from missing
        url = people.link(missing.person, missing.name)
        later = f"{missing.reason}. Open {url} to connect, then try again"
        modern = client.era == "modern"
        by_url = "url" in (client.capabilities.get("elicitation") or {})
        if not by_url or (modern and method not in INPUT_REQUIRED_METHODS):
            return self._told(method, later)
        if modern and answer is None:
            return _question(missing.reason, url, body)
        name = uuid4().hex
        if not modern:
            params = {"mode": "url", "message": missing.reason, "url": url, "elicitationId": name}
            answer = await client.ask("elicitation/create", params)
        if not isinstance(answer, Mapping) or answer.get("action") != "accept":
            return self._told(method, f"{missing.reason}, and connecting was declined")
        if not await self._connected(people, missing, caller):
            return self._told(method, later)
        if not modern:
            await client.notify("notifications/elicitation/complete", {"elicitationId": name})
        return None

    async def _connected(self, people: People, missing: NotConnected, caller: Caller) -> bool:
        """Wait until the person has connected, on whichever worker; whether they have."""
        with people.waiting(missing.person, missing.name) as event:
            try:
                async with asyncio.timeout(CONNECT_WAIT_S):
                    while True:
                        event.clear()
                        try:
                            await self._credentials.prepare(caller)
                        except NotConnected:
                            await wait_for_event(event, LOOK_AGAIN_S)
                        else:
                            return True
            except TimeoutError:
                return False

    def _told(self, method: str, text: str) -> CallToolResult:
        """A tool's error, which a model reads and passes on; a request of another kind fails with it.

        Raises:
            MCPError: it is no tool.
        """
        if method != "tools/call":
            raise errors.access_refused(self._backend, text)
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _question(reason: str, url: str, body: Mapping[str, Any]) -> InputRequiredResult:
    """Asks for the page to be opened. What a backend gave its earlier round to carry is carried on."""
    state = body.get("requestState")
    asked = ElicitRequest(params=ElicitRequestURLParams(message=reason, url=url))
    return InputRequiredResult(input_requests={ASKED: asked}, request_state=state if isinstance(state, str) else None)


def _without_answer(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """The parameters as the backend gets them, and what the person answered to our own question."""
    responses = body.get("inputResponses")
    if not isinstance(responses, Mapping) or ASKED not in responses:
        return body, None
    others = {name: answer for name, answer in responses.items() if name != ASKED}
    rest = {name: value for name, value in body.items() if name != "inputResponses"}
    return {**rest, "inputResponses": others} if others else rest, responses[ASKED]
