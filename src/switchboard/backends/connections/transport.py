"""A transport that was opened, as a connection sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

from mcp.shared.dispatcher import Dispatcher
from mcp_types import InitializeResult

from switchboard.backends.connections.protocol import DirectRequests, Inbound


class Transport(Protocol):
    """A transport that was opened."""

    direct: DirectRequests | None

    def dispatcher(self, on_unreadable: Callable[[Exception], object]) -> Dispatcher[Any]:
        """JSON-RPC over it; `on_unreadable` is given what was no message. Called once."""
        ...

    def reason(self) -> str:
        """Why it ended, as far as it knows; empty if it does not."""
        ...

    async def wait_for_reason(self) -> None:
        """Wait until `reason` has an answer, for a moment at most."""
        ...

    @property
    def resumed(self) -> InitializeResult | None:
        """What was agreed in the session that it resumes, if it does."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether other workers resume the session too."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether its session takes the place of one that is over, and its client was not told yet."""
        ...

    async def on_negotiated(self, result: InitializeResult | None) -> None:
        """Take note of what was agreed in a new session; `None` if there is none."""
        ...

    async def listen(self, inbound: Inbound, busy: Callable[[], bool]) -> None:
        """Pass on what belongs to no request; returns when the backend does not know the session any more."""
        ...

    async def stream_ready(self) -> None:
        """Wait, for a moment at most, until the session's own stream is open."""
        ...

    async def forget(self) -> None:
        """Have no worker resume the session any more."""
        ...

    @property
    def process(self) -> int | None:
        """The id of its process, if it has one."""
        ...

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of its standard error, if it has one."""
        ...


OpenTransport = Callable[[AsyncExitStack], Awaitable[Transport]]
"""Opens a transport on a stack."""
