"""The hops of runs, in Redis for a day: at most so many for each scenario of a run, without a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from switchboard.lab.hops import Hop, Place
from switchboard.state import State

KEPT_S: Final = 86_400
MOST_HOPS: Final = 300
"""Of one scenario of a run; what comes later is served, and not kept."""

MOST_TEXT: Final = 2_000
"""Characters of one value."""

SECRET: Final = frozenset(
    {"code", "code_verifier", "token", "access_token", "refresh_token", "client_secret", "id_token", "client_assertion"}
    | {"assertion", "subject_token"}
)
"""Parameters that stand as fingerprints."""


class Recorder:
    """Keeps hops, and gives them back in order.

    Args:
        key: for fingerprints.
    """

    def __init__(self, state: State, key: bytes) -> None:
        self._state = state
        self._key = key

    def shown(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Values as they are kept: secrets by fingerprint, the same secret by the same one."""
        return {
            name: self.fingerprint(str(value)) if name in SECRET else str(value)[:MOST_TEXT]
            for name, value in values.items()
        }

    def fingerprint(self, secret: str) -> str:
        """Eight hexadecimal digits."""
        return f"#{hmac.digest(self._key, secret.encode(), hashlib.sha256).hex()[:8]}"

    async def keep(self, run: str, scenario: str, hop: Hop) -> None:
        """Keep one hop, unless there are as many as are kept: the first ones show what happened.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        key = self._state.keys.lab_hops(run, scenario)
        document = json.dumps({**asdict(hop), "place": hop.place.value})
        with self._state.guard():
            if await self._state.redis.xlen(key) >= MOST_HOPS:
                return
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.xadd(key, {"hop": document}, maxlen=MOST_HOPS, approximate=False)
                pipe.expire(key, KEPT_S)
                await pipe.execute()

    async def count(self, run: str, scenarios: Sequence[str]) -> int:
        """How many hops were kept of a run.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        return sum(await self._of_each(run, scenarios, "xlen"))

    async def hops(self, run: str, scenarios: Sequence[str]) -> Sequence[Sequence[Hop]]:
        """All that was kept of each scenario, numbered from 1.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        return [
            [_hop(number, json.loads(fields["hop"])) for number, (_, fields) in enumerate(entries, 1)]
            for entries in await self._of_each(run, scenarios, "xrange")
        ]

    async def _of_each(self, run: str, scenarios: Sequence[str], command: Literal["xlen", "xrange"]) -> Sequence[Any]:
        """What Redis answers to a command about the hops of each scenario, in one write."""
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                for scenario in scenarios:
                    getattr(pipe, command)(self._state.keys.lab_hops(run, scenario))
                found: list[Any] = await pipe.execute()
        return found


def _hop(number: int, kept: Mapping[str, Any]) -> Hop:
    return Hop(**{**kept, "place": Place(kept["place"]), "number": number})
