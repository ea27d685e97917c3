"""A transport that was opened, as a line sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

from mcp_types import InitializeResult

from switchboard.backends.connections.protocol import Inbound


class Transport(Protocol):
    """A transport that was opened."""

    streams: tuple[Any, Any]

    def reason(self) -> str:
        """Why it ended, as far as it knows; empty if it does not."""
        ...

    async def settled(self) -> None:
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
        """Whether its session takes the place of one that is over, and nobody was told yet."""
        ...

    async def agreed(self, result: InitializeResult | None) -> None:
        """Hear what was agreed in a new session; `None` if there is none."""
        ...

    async def listen(self, inbound: Inbound, busy: Callable[[], bool]) -> None:
        """Hear what belongs to no request; returns when the backend does not know the session any more."""
        ...

    async def heard(self) -> None:
        """Wait, for a moment at most, until what belongs to no request is heard."""
        ...

    async def forget(self) -> None:
        """Have nobody resume the session any more."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """The last lines of its standard error, if it has one."""
        ...


Open = Callable[[AsyncExitStack], Awaitable[Transport]]
"""Opens a transport on a stack."""
