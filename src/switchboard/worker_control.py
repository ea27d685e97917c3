"""Asking the workers of a fleet how their servers are doing, and telling them to restart one.

Part of the composition root. The command line asks with `ask`, a worker answers while it runs `answering`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from switchboard.fleet.heartbeat import living
from switchboard.fleet.peers import Peers, ServedChannel
from switchboard.state import State

ANSWER_S: Final = 3.0
"""What a worker has to answer."""

METHOD: Final = "servers"

Tell = Callable[[], Mapping[str, Any]]
Restart = Callable[[str], bool]


def answering(peers: Peers, tell: Tell, restart: Restart) -> AbstractAsyncContextManager[None]:
    """Answer, for this worker."""

    async def answered(params: Mapping[str, Any], _channel: ServedChannel) -> Mapping[str, Any]:
        named = params.get("restart")
        done = restart(named) if isinstance(named, str) and named else None
        return {**tell(), "restarted": done}

    return peers.serving(METHOD, answered)


async def ask(state: State, *, restart: str | None = None, patience: float = ANSWER_S) -> list[Mapping[str, Any]]:
    """The answers of all workers that are alive, or of those that answered in time.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    async with Peers(state, f"asker-{secrets.token_hex(4)}").running() as peers:
        answers = await peers.broadcast(await living(state), METHOD, {"restart": restart}, patience)
    told = (answers[worker] for worker in sorted(answers))
    return [{"worker": "", "servers": [], **answer} for answer in told if isinstance(answer, Mapping)]
