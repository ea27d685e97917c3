"""What the client carries from one round to the next, inside the sealed `requestState`.

The SDK's `RequestStateBoundary` seals it on the way out and verifies it on the way in (integrity, expiry, principal,
method, target and arguments), so what is read here was written here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from switchboard.sessions.parking.errors import invalid_state


@dataclass(frozen=True, slots=True)
class Continuation:
    """Names a parked call, the worker that holds it, and the round that the bearer may begin."""

    park: str
    worker: str
    round: int

    def text(self) -> str:
        """The `requestState` to seal."""
        return json.dumps({"park": self.park, "worker": self.worker, "round": self.round}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class HandlerState:
    """The state of a handler that drives its rounds itself; kept apart from tickets by its wrapping."""

    state: str

    def text(self) -> str:
        """The `requestState` to seal."""
        return json.dumps({"own": self.state}, separators=(",", ":"))


def read(state: str) -> Continuation | HandlerState:
    """What a verified `requestState` holds.

    Raises:
        MCPError: INVALID_PARAMS for anything that is neither; an older version may have sealed it.
    """
    try:
        fields: Any = json.loads(state)
        if "own" in fields:
            return HandlerState(_typed(fields["own"], str))
        return Continuation(_typed(fields["park"], str), _typed(fields["worker"], str), _typed(fields["round"], int))
    except (ValueError, KeyError, TypeError):
        raise invalid_state() from None


def _typed(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError
    return value
