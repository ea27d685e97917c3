"""What a client does: which calls, how often, and with which arguments. A row is one kind of call."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Final

from tools.chaos.observations import ObservationLog


@dataclass(frozen=True)
class Kind:
    """One kind of call."""

    name: str
    weight: int
    arguments: dict[str, Any]
    tool: str = ""
    """The tool's name where it is not the kind's."""

    says: str = ""
    """How its answer begins; without it, the answer is the call's number."""

    def right(self, text: str, seq: int) -> bool:
        """Whether this is the answer to call number `seq`."""
        return text.startswith(self.says) if self.says else text == str(seq)


STEPS: Final = 6

HANDSHAKE = (
    Kind("note", 50, {"seconds": 0.05}),
    Kind("say", 25, {}),
    Kind("count", 20, {"steps": STEPS, "seconds": 2.4}),
    Kind("ask", 5, {}),
    Kind("session", 4, {}),
)
"""`session` is no tool but a short session of its own, as in `short_session`."""

MODERN = (
    Kind("note", 60, {"seconds": 0.05}),
    Kind("bump", 25, {}),
    Kind("count", 15, {"steps": STEPS, "seconds": 2.4}),
)
EVERYTHING = (
    Kind("note", 70, {"message": "once"}, "echo", "Echo: once"),
    Kind("count", 26, {"duration": 2.4, "steps": STEPS}, "longRunningOperation", "Long running operation completed"),
    Kind("session", 4, {}),
)
"""What every server with the well-known demonstration tools can be asked for; it keeps no ledger."""

TOOLS: Final = {"chaos": (HANDSHAKE, MODERN), "everything": (EVERYTHING, ())}
"""The calls of either era, by toolset; without any, there are no clients of that era."""


@dataclass(frozen=True)
class Setting:
    """What all clients of a process share."""

    port: int
    replay: bool
    pause: float
    """Seconds between two calls of one client, on average."""

    log: ObservationLog
    over: asyncio.Event
    """Set when no new call should begin."""

    closing: asyncio.Event
    """Set when open streams should be left."""

    token: str = ""
    handshake: tuple[Kind, ...] = HANDSHAKE
    modern: tuple[Kind, ...] = MODERN

    def headers(self, call: str = "") -> dict[str, str]:
        """What every request carries; `call` is its name in the balancer's log."""
        signed = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        both = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        return {**both, **signed, **({"X-Call": call} if call else {})}

    async def rest(self) -> None:
        """Wait a while, or until the load is over."""
        await until(self.over, random.expovariate(1 / self.pause) if self.pause else 0)


def chosen(kinds: tuple[Kind, ...]) -> Kind:
    """One of them, by weight."""
    return random.choices(kinds, [kind.weight for kind in kinds])[0]


async def until(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most so long; whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
