"""The session that an HTTP backend keeps for one of ours: made by one worker, resumed by all.

Found in Redis under the line's own tag. Whoever finds none makes it, while others wait for a moment: a backend that
gave each worker a session of its own would remember something else for each.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from switchboard.backends.claims import tag
from switchboard.backends.failures import Unreachable
from switchboard.backends.scope import LineKey
from switchboard.errors import StateUnavailable
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS

LOOK_S: Final = 0.05
MAKING: Final = "making"

# KEYS slot · ARGV session
_FORGET: Final = """
local stored = redis.call('GET', KEYS[1])
if stored and string.find(stored, ARGV[1], 1, true) then redis.call('DEL', KEYS[1]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A session at a backend."""

    session: str
    url: str
    """Which of the backend's URLs knows it."""

    result: dict[str, Any]
    """What `initialize` answered."""


class Slot:
    """Where one line's upstream session is kept."""

    def __init__(self, state: State, backend: str, key: LineKey, patience: float) -> None:
        self._state = state
        self._slot = state.keys.line_upstream(tag(key), backend, key.capabilities)
        self._patience = patience

    async def find(self) -> Upstream | None:
        """The session, or `None` for whoever is to make it.

        Raises:
            Unreachable: it cannot be known now.
        """
        until = asyncio.get_running_loop().time() + self._patience
        try:
            with self._state.guard():
                while asyncio.get_running_loop().time() < until:
                    ours = await self._state.redis.set(self._slot, MAKING, nx=True, px=int(self._patience * 1000))
                    if ours:
                        return None
                    stored = await self._state.redis.get(self._slot)
                    if stored and stored != MAKING:
                        await self._state.redis.pexpire(self._slot, LINE_LIFE_MS)
                        return Upstream(**json.loads(stored))
                    await asyncio.sleep(LOOK_S)
        except StateUnavailable as error:
            raise Unreachable("shared state cannot be reached now, which knows its session") from error
        raise Unreachable("another worker did not finish opening it")

    async def made(self, upstream: Upstream | None) -> None:
        """Keep the session for everybody; `None` if there came to be none."""
        with self._state.guard():
            if upstream is None:
                await self._state.redis.delete(self._slot)
            else:
                await self._state.redis.set(self._slot, json.dumps(asdict(upstream)), px=LINE_LIFE_MS)

    async def forget(self, session: str) -> None:
        """The backend does not know it any more."""
        with self._state.guard():
            await self._state.redis.eval(_FORGET, 1, self._slot, session)
