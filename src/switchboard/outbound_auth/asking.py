"""Asks a person to connect an account, or to enter a credential, when a request cannot be served without it.

* handshake era: URL elicitation (2025-11-25). The request waits meanwhile.
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
from typing import Any, Final, Literal, Protocol
from uuid import uuid4

from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ServerEvent
from mcp_types import CallToolResult, ElicitRequest, ElicitRequestURLParams, InputRequiredResult, TextContent
from mcp_types.methods import INPUT_REQUIRED_METHODS

from switchboard.aio import wait_for_event
from switchboard.errors import NotConnected

ASKED: Final = "switchboard.connect"
"""The name of our question among the `inputRequests` of a result."""

CONNECT_WAIT_S: Final = 300.0
"""How long a request waits for its person to connect."""

LOOK_AGAIN_S: Final = 10.0
"""How often a request that waits looks by itself, should a notice be lost."""

MOST_ASKED: Final = 2
"""How often one request asks its person."""

Look = Callable[[], Awaitable[bool]]
"""Whether what was missing is there now."""


class AskedClient(Protocol):
    """The client whose request is served, as far as it can be asked."""

    @property
    def era(self) -> Literal["handshake", "modern"]:
        """Which era it speaks."""
        ...

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it declared that lets a server ask."""
        ...

    async def ask(self, method: str, params: Mapping[str, Any] | None) -> Any:
        """Ask it on the request's own stream."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Tell it on the request's own stream."""
        ...


@dataclass(frozen=True, slots=True)
class People:
    """How people are asked to connect accounts, how it is heard that one did, and how they are told.

    Args:
        link: the address of the page for a person and the name of a backend or plugin.
        waiting: an event that is set when that person connected to it, or may have.
        tell: tells the streams that a person, given as a digest (empty for everybody), has open on this worker.
        announce: tells every worker that a backend offers something else to a person: the person and its name.
    """

    link: Callable[[str, str], str]
    waiting: Callable[[str, str], AbstractContextManager[asyncio.Event]]
    tell: Callable[[str, ServerEvent], None]
    announce: Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that cannot be served before its person has done something.

    Args:
        refuse: makes the error that a request fails with, unless it is of a tool.
        state: the `requestState` that its handler gave an earlier round, to be carried on.
    """

    method: str
    client: AskedClient
    refuse: Callable[[str], MCPError]
    state: str | None = None

    async def ask(
        self, people: People, missing: NotConnected, answer: Any, look: Look
    ) -> CallToolResult | InputRequiredResult | None:
        """Ask, and wait; or the result that asks. `None` once the person has connected.

        Args:
            answer: what the person said when asked in an earlier round.

        Raises:
            MCPError: it is no request of a tool, and its client cannot be asked, or its person did not connect.
        """
        url = people.link(missing.person, missing.name)
        later = with_link(missing, url)
        modern = self.client.era == "modern"
        by_url = "url" in (self.client.capabilities.get("elicitation") or {})
        if not by_url or (modern and self.method not in INPUT_REQUIRED_METHODS):
            return self.told(later)
        if modern and answer is None:
            return self._question(missing.reason, url)
        name = uuid4().hex
        if not modern:
            params = {"mode": "url", "message": missing.reason, "url": url, "elicitationId": name}
            answer = await self.client.ask("elicitation/create", params)
        if not isinstance(answer, Mapping) or answer.get("action") != "accept":
            return self.told(f"{missing.reason}, and connecting was declined")
        if not await _connected(people, missing, look):
            return self.told(later)
        if not modern:
            await self.client.notify("notifications/elicitation/complete", {"elicitationId": name})
        return None

    def told(self, text: str) -> CallToolResult:
        """A tool's error, which a model reads and passes on; a request of another kind fails with it.

        Raises:
            MCPError: it is no tool.
        """
        if self.method != "tools/call":
            raise self.refuse(text)
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

    def _question(self, reason: str, url: str) -> InputRequiredResult:
        """Asks for the page to be opened."""
        asked = ElicitRequest(params=ElicitRequestURLParams(message=reason, url=url))
        return InputRequiredResult(input_requests={ASKED: asked}, request_state=self.state)


def with_link(missing: NotConnected, url: str) -> str:
    """Says to a person what is missing, and where to go."""
    return f"{missing.reason}. Open {url} to connect, then try again"


def without_answer(responses: Any) -> tuple[Any, Any]:
    """The `inputResponses` for whoever serves the request, `None` if there are none; and the answer to our question."""
    if not isinstance(responses, Mapping) or ASKED not in responses:
        return responses, None
    return {name: answer for name, answer in responses.items() if name != ASKED} or None, responses[ASKED]


async def _connected(people: People, missing: NotConnected, look: Look) -> bool:
    """Wait until the person has connected, on whichever worker; whether they have."""
    with people.waiting(missing.person, missing.name) as event:
        try:
            async with asyncio.timeout(CONNECT_WAIT_S):
                while True:
                    event.clear()
                    if await look():
                        return True
                    await wait_for_event(event, LOOK_AGAIN_S)
        except TimeoutError:
            return False
