"""The calls that are in progress on this worker, and those of them that are parked."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from mcp_types import SERVER_INFO_META_KEY

from switchboard.fleet.peers import ServedChannel
from switchboard.sessions.client_requests import Terms
from switchboard.sessions.parking.call import Call
from switchboard.sessions.parking.continuation import Continuation
from switchboard.sessions.parking.errors import not_parked, too_many, worker_lost
from switchboard.sessions.parking.outcome import Outcome

log = structlog.get_logger("switchboard.parking")


class CallRegistry:
    """Finds a parked call by its ticket, and has no more room than it was given."""

    def __init__(
        self,
        worker: str,
        *,
        ttl: float,
        max_parked: int,
        max_per_principal: int,
        server_info: Callable[[], Mapping[str, Any]] | None,
    ) -> None:
        self.worker = worker
        self.ttl = ttl
        self.running: set[Call] = set()
        """Calls whose handler has not ended, parked or not."""
        self._server_info = server_info
        self._max_parked = max_parked
        self._max_per_principal = max_per_principal
        self._parked: dict[str, Call] = {}
        self._ended: OrderedDict[str, Call] = OrderedDict()
        self._per_principal: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._parked)

    def stamp(self) -> dict[str, Any]:
        """What the SDK's own answers say about the server; an answer made by middleware must say it itself."""
        return {"_meta": {SERVER_INFO_META_KEY: self._server_info()}} if self._server_info else {}

    async def attend(
        self,
        continuation: Continuation,
        principal: str,
        answers: Mapping[str, Any],
        terms: Terms,
        channel: ServedChannel,
    ) -> Outcome:
        """Begin, or join, the round that the ticket names, and wait for its outcome.

        Raises:
            MCPError: the call ended, expired, or is somebody else's.
        """
        call = self._parked.get(continuation.park) or self._ended.get(continuation.park)
        if call is None or call.principal != principal:
            raise not_parked()
        call.begin(continuation.round, answers, terms)
        return await call.attend(continuation.round, channel)

    def admit(self, call: Call) -> None:
        """Make room for a call that is about to ask; raises when there is none."""
        if call.parked:
            return
        if len(self._parked) >= self._max_parked:
            raise too_many("on this worker", self._max_parked)
        if self._per_principal[call.principal] >= self._max_per_principal:
            raise too_many("of yours on this worker", self._max_per_principal)
        call.parked = True
        self._parked[call.id] = call
        self._per_principal[call.principal] += 1
        log.debug("call.parked", call=call.id, method=call.method, parked=len(self._parked))

    def ended(self, call: Call) -> None:
        """The handler ended: it takes no room any more, but its outcome is wanted for a little longer."""
        self.running.discard(call)
        if self._release(call):
            self._ended[call.id] = call
            while len(self._ended) > self._max_parked:
                self._ended.popitem(last=False)[1].stop_clock()

    def forget(self, call: Call) -> None:
        """Nobody wants the call any more."""
        self._release(call)
        if self._ended.pop(call.id, None) is None:
            log.info("call.expired", call=call.id, method=call.method)

    def close(self) -> None:
        """End every call: this worker leaves."""
        for call in list(self.running):
            call.cancel(worker_lost(call.method))

    def _release(self, call: Call) -> bool:
        if self._parked.pop(call.id, None) is None:
            return False
        self._per_principal[call.principal] -= 1
        if not self._per_principal[call.principal]:
            del self._per_principal[call.principal]
        return True
