"""When a sealed request state was made and ends, as every worker of the fleet sees it.

The SDK writes and compares these times by the clock of its machine. What is sealed here is written in the fleet's time,
so that a state made on one worker is neither of the future nor too old on another whose clock is off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from mcp.server.request_state import RequestStateCodec

TIMES: Final = ("iat", "exp")


class FleetTime:
    """A codec around another. Satisfies `RequestStateCodec`.

    Args:
        clock: the fleet's.
        own: this machine's, which the SDK goes by.
    """

    def __init__(
        self, inner: RequestStateCodec, clock: Callable[[], float], own: Callable[[], float] = time.time
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._own = own

    def seal(self, payload: bytes) -> str:
        """Seal with the fleet's times."""
        return self._inner.seal(_shifted(payload, self._clock() - self._own()))

    def unseal(self, token: str) -> bytes:
        """What was sealed, with this machine's times."""
        return _shifted(self._inner.unseal(token), self._own() - self._clock())


def _shifted(payload: bytes, by: float) -> bytes:
    claims: Any = json.loads(payload)
    if not isinstance(claims, dict):
        return payload
    moved = {name: claims[name] + by for name in TIMES if isinstance(claims.get(name), int | float)}
    return json.dumps({**claims, **moved}, separators=(",", ":")).encode()
