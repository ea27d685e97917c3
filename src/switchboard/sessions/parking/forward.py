"""A retry that came to a worker which does not hold its call: the holder serves it.

A round has one outcome however often it is asked for, so a retry may be forwarded as often as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import structlog

from switchboard.fleet.peers import Channel, PeerLost, Peers, ServedChannel
from switchboard.sessions.client_requests import Terms
from switchboard.sessions.parking.continuation import Continuation
from switchboard.sessions.parking.errors import invalid_state, unreachable, worker_lost
from switchboard.sessions.parking.outcome import Outcome
from switchboard.sessions.parking.registry import CallRegistry

METHOD: Final = "parking.retry"

log = structlog.get_logger("switchboard.parking")


class Forwarding:
    """Both ends: retries of calls that other workers hold, and their retries of calls in this one's lot."""

    def __init__(self, peers: Peers, registry: CallRegistry) -> None:
        self._peers = peers
        self._registry = registry

    def serving(self) -> AbstractAsyncContextManager[None]:
        """Serve other workers until the context ends."""
        return self._peers.serving(METHOD, self._served)

    async def retry(
        self,
        continuation: Continuation,
        method: str,
        principal: str,
        answers: Mapping[str, Any],
        terms: Terms,
        channel: Channel,
    ) -> Outcome:
        """The outcome of the round, from the worker that holds the call.

        Raises:
            MCPError: the outcome is an error, or that worker is lost, or cannot be reached now.
        """
        params = {
            "ticket": [continuation.park, continuation.worker, continuation.round],
            "principal": principal,
            "answers": answers,
            "terms": terms.frame(),
        }
        try:
            return Outcome(await self._peers.call(continuation.worker, METHOD, params, channel, once=False))
        except PeerLost as error:
            log.warning("parking.worker_lost", holder=continuation.worker, reason=error.reason)
            raise (worker_lost(method) if error.dead else unreachable()) from None

    async def _served(self, params: Mapping[str, Any], channel: ServedChannel) -> Mapping[str, Any]:
        try:
            park, worker, number = params["ticket"]
            principal, answers, terms = params["principal"], params["answers"], Terms.read(params["terms"])
            if not (isinstance(park, str) and isinstance(number, int) and isinstance(answers, dict)):
                raise TypeError("a retry of another shape")
        except (ValueError, KeyError, TypeError) as error:
            log.warning("parking.retry_not_understood", error=type(error).__name__)
            raise invalid_state() from None
        outcome = await self._registry.attend(
            Continuation(park, str(worker), number), principal, answers, terms, channel
        )
        return outcome.dumped()
