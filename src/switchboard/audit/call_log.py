"""Which calls are noted, and the log of those: a stream of its own, so that calls push no change of an operator out.

A call is noted beside its answer. What was noted leaves in one write each FLUSH_EVERY_S, as entries of one chain like
those of the audit log; each is the JSON of its fields, under the one name `e`. What Redis did not take is sent again,
with what came meanwhile; beyond MOST_WAITING the newest are not kept, and an entry of the chain says how many.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import structlog
from pydantic_core import to_json

from switchboard.aio import background
from switchboard.audit.entries import ENTRY, Chain, signing_key
from switchboard.keys import derive
from switchboard.state import State

FLUSH_EVERY_S: Final = 0.25
FLUSH_S: Final = 2.0
"""How long the last write may take, when the worker ends."""

BATCH: Final = 500
"""Entries that are sent together."""

MOST_WAITING: Final = 10_000
"""Calls that wait to be sent, some 500 bytes each."""

TRIM_EVERY: Final = 1_024
"""Entries, after which those that are too old are removed."""

OFF: Final = 0
ALL: Final = 1

log = structlog.get_logger("switchboard.audit")


class CallLog(Protocol):
    """Takes calls of tools, reads of resources and prompts."""

    def one_of(self, provider: str) -> int:
        """Whether to note this call of a provider: 0 for no, else of how many calls it is one."""
        ...

    def note(self, fields: dict[str, str], given: object) -> None:
        """Note a call. Never raises, and never waits.

        Args:
            fields: of the entry, as of `AuditLog.record`.
            given: the arguments, of which a digest alone is kept.
        """
        ...

    def configure(self, rates: Mapping[str, int]) -> None:
        """Go by these from now on: by provider, one of how many calls is noted, 0 for none."""
        ...


class NoCallLog:
    """No call is noted. Satisfies `CallLog`."""

    def one_of(self, _provider: str) -> int:
        """None is."""
        return OFF

    def note(self, fields: dict[str, str], given: object) -> None:
        """Nothing."""

    def configure(self, rates: Mapping[str, int]) -> None:
        """Nothing."""


class RedisCallLog:
    """The log of calls in the fleet's shared state. Satisfies `CallLog`.

    Args:
        secret_keys: SECRET_KEY, the newest first.
        writer: this process, by name.
        usual: one of how many calls is noted of a provider that nothing else is said of.
        entries: how many are kept.
        days: for how long.
    """

    def __init__(
        self, state: State, secret_keys: Sequence[str], writer: str, *, usual: int, entries: int, days: int
    ) -> None:
        self._state = state
        self._stream = state.keys.audited_calls()
        self._chain = Chain(signing_key(secret_keys[0]), f"{writer}/calls")
        self._digest_key = bytes.fromhex(derive(secret_keys[0], "audited arguments"))
        self._usual = usual
        self._rates: Mapping[str, int] = {}
        self._entries = entries
        self._kept_ms = days * 86_400_000
        self._until_trim = 0
        self._waiting: deque[dict[str, str]] = deque()
        self._unsent: list[str] = []
        """Entries of the chain that Redis has not confirmed."""
        self._lost = 0
        self._wanted = asyncio.Event()
        self._sending = asyncio.Lock()

    def configure(self, rates: Mapping[str, int]) -> None:
        """See `CallLog`."""
        self._rates = rates

    def one_of(self, provider: str) -> int:
        """See `CallLog`."""
        rate = self._rates.get(provider, self._usual)
        return rate if rate <= ALL or not random.randrange(rate) else OFF  # noqa: S311 (a sample)

    def note(self, fields: dict[str, str], given: object) -> None:
        """See `CallLog`."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        if given:
            fields["digest"] = self._digest(given)
        fields["at"] = f"{self._state.clock():.3f}"
        self._waiting.append(fields)
        self._wanted.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is noted, until the context ends; then send what is left."""
        async with background(self._keep_sending()):
            try:
                yield
            finally:  # before the background is cancelled: an entry that is on its way would be sent twice
                await self._send_rest()

    async def _keep_sending(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(FLUSH_EVERY_S)
            self._wanted.clear()
            await self.flush()
            if self._unsent:
                self._wanted.set()

    async def _send_rest(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self.flush()
        except TimeoutError:
            pass
        if left := len(self._waiting) + len(self._unsent) + self._lost:
            log.warning("audited_calls.lost", calls=left, reason="Redis did not take them before this worker ended")

    async def flush(self) -> None:
        """Send what there is, in batches; what Redis does not take is kept for the next time. One sends at a time."""
        async with self._sending:
            await self._send()

    async def _send(self) -> None:
        while self._unsent or self._waiting or self._lost:
            self._link()
            asked = [
                self._state.lookups.ask("XADD", self._stream, "MAXLEN", "~", self._entries, "*", ENTRY, entry)
                for entry in self._unsent
            ]
            said = await asyncio.gather(*asked, return_exceptions=True)
            errors = [each for each in said if isinstance(each, BaseException)]
            pairs = zip(self._unsent, said, strict=True)
            self._unsent = [entry for entry, each in pairs if isinstance(each, BaseException)]
            if errors:
                log.warning("audited_calls.unsent", calls=len(errors), error=str(errors[0]))
                return
            self._trim(len(asked))

    def _link(self) -> None:
        """Make the next entries of the chain, if those before were all taken."""
        if self._unsent:
            return
        if lost := self._lost:
            self._lost = 0
            log.warning("audited_calls.lost", calls=lost, reason=f"more than {MOST_WAITING} waited for Redis")
            at = f"{self._state.clock():.3f}"
            told = {"event": "calls.lost", "who": "gateway", "what": str(lost), "outcome": "lost", "at": at}
            self._unsent.append(self._linked(told))
        for _ in range(min(BATCH, len(self._waiting))):
            self._unsent.append(self._linked(self._waiting.popleft()))

    def _linked(self, fields: Mapping[str, str]) -> str:
        return to_json(self._chain.link({name: value for name, value in fields.items() if value})).decode()

    def _trim(self, sent: int) -> None:
        self._until_trim -= sent
        if self._until_trim < 0:
            self._until_trim = TRIM_EVERY
            oldest = int(self._state.clock() * 1000) - self._kept_ms
            trimmed: asyncio.Future[Any] = self._state.lookups.ask("XTRIM", self._stream, "MINID", "~", max(0, oldest))
            trimmed.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _digest(self, given: object) -> str:
        """Equal for equal arguments; under a key, so that nobody finds them by trying."""
        try:
            text = to_json(given)
        except ValueError:  # half a surrogate pair
            text = repr(given).encode(errors="backslashreplace")
        return hashlib.blake2b(text, key=self._digest_key, digest_size=12).hexdigest()
