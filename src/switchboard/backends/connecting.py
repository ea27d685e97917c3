"""Calls that need a credential of their person: what happens when the backend refuses it, or there is none.

A call is forwarded first. Where it was refused for its credential, the backend has done nothing: the credential is
prepared anew, and the call is sent once more. Where the person has to do something, they are asked to
(`switchboard.outbound_auth.asking`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent

from switchboard.backends import errors
from switchboard.backends.caller import ClientChannel
from switchboard.errors import CredentialUnavailable, NotConnected
from switchboard.identity import Caller, current
from switchboard.outbound_auth.asking import MOST_ASKED, People, WaitingRequest, without_answer
from switchboard.outbound_auth.credentials import OutboundCredentials

Forward = Callable[[str, Mapping[str, Any], ClientChannel], Awaitable[HandlerResult]]
"""Passes one request on: method, parameters, client."""


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
        refuse, state = partial(errors.access_refused, self._backend), body.get("requestState")
        if self._people is None:
            raise refuse(missing.reason) from missing
        request = WaitingRequest(method, client, refuse, state if isinstance(state, str) else None)
        return await request.ask(self._people, missing, answer, partial(self._is_connected, caller))

    async def _is_connected(self, caller: Caller) -> bool:
        try:
            await self._credentials.prepare(caller)
        except NotConnected:
            return False
        return True


def _without_answer(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """The parameters as the backend gets them, and what the person answered to our own question."""
    others, answer = without_answer(body.get("inputResponses"))
    if answer is None:
        return body, None
    rest = {name: value for name, value in body.items() if name != "inputResponses"}
    return {**rest, "inputResponses": others} if others else rest, answer
