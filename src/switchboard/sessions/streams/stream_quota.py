"""How many streams each owner holds open, counted for the fleet.

Each worker writes its own number into one hash per owner, and never adds to another's: a worker that dies leaves a
number behind, which whoever runs into the limit takes away. While Redis is away a worker goes by its own number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final, cast

import structlog

from switchboard.errors import StateUnavailable, TooMany
from switchboard.state import State

KEPT_S: Final = 86_400
"""How long the numbers of an owner outlive the last change."""

log = structlog.get_logger("switchboard.sessions")


class StreamQuota:
    """The open streams of each owner."""

    def __init__(self, state: State, worker: str, limit: int) -> None:
        self._state = state
        self._worker = worker
        self._limit = limit
        self._here: Counter[str] = Counter()
        self._untold: set[str] = set()
        """Owners whose number is still to be stored."""

    async def add(self, owner: str) -> None:
        """Count one more stream of `owner`, until `remove` is called.

        Raises:
            TooMany: the owner has as many on all workers as one may have; it is not counted.
        """
        self._here[owner] += 1
        try:
            if self._here[owner] > self._limit or await self._told(owner) > self._limit:
                raise TooMany("open streams", self._limit, "MAX_STREAMS")
        except BaseException:
            self.remove(owner)
            raise

    def remove(self, owner: str) -> None:
        """One stream of `owner` has ended."""
        self._here[owner] -= 1
        if not self._here[owner]:
            del self._here[owner]
        self._untold.add(owner)

    async def tell(self) -> None:
        """Store the numbers that changed: those of streams that ended are stored here, all at once.

        Raises:
            StateUnavailable: they are stored the next time.
        """
        while self._untold:
            owner = next(iter(self._untold))
            await self._write(owner)
            self._untold.discard(owner)

    async def _told(self, owner: str) -> int:
        """The owner's streams on all workers."""
        try:
            numbers = await self._write(owner)
            if sum(numbers.values()) > self._limit:
                numbers = await self._of_the_living(owner, numbers)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
            self._untold.add(owner)
            return self._here[owner]
        return sum(numbers.values())

    async def _write(self, owner: str) -> dict[str, int]:
        key = self._key(owner)
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                if self._here[owner]:
                    pipe.hset(key, self._worker, str(self._here[owner]))
                else:
                    pipe.hdel(key, self._worker)
                pipe.expire(key, KEPT_S)
                pipe.hgetall(key)
                stored = cast(dict[str, str], (await pipe.execute())[2])
        return {worker: int(number) for worker, number in stored.items()}

    async def _of_the_living(self, owner: str, numbers: dict[str, int]) -> dict[str, int]:
        workers = list(numbers)
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                for worker in workers:
                    pipe.exists(self._state.keys.worker(worker))
                alive = await pipe.execute()
            silent = [
                worker for worker, beats in zip(workers, alive, strict=True) if not beats and worker != self._worker
            ]
            dead = silent if self._state.contact.settled else []
            if dead:
                await self._state.redis.hdel(self._key(owner), *dead)
        return {worker: number for worker, number in numbers.items() if worker not in dead}

    def _key(self, owner: str) -> str:
        return self._state.keys.held(hashlib.sha256(owner.encode()).hexdigest()[:24])
