"""Tasks in Redis, where every worker reads and changes them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, cast

import structlog

from switchboard.state import State
from switchboard.tasks.errors import lost
from switchboard.tasks.record import Record, now
from switchboard.tasks.scripts import Scripts

GRACE_MS: Final = 60_000
"""How long a task that ran out of time can still be seen to have done so."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")

Ending = Literal["completed", "failed", "cancelled"]

Verdict = Literal["ok", "gone", "ended", "fenced", "taken", "unasked"]

log = structlog.get_logger("switchboard.tasks")


class Store:
    """Reads tasks, ending those of dead workers; refuses every write to a task that has ended."""

    def __init__(self, state: State, alive: Callable[[str], Awaitable[bool]]) -> None:
        self._state = state
        self.poll_s = state.timing.poll_s
        self._alive = alive
        self._scripts = Scripts(state.redis)

    async def create(self, record: Record) -> None:
        """Store a task; it can be found through every worker when this returns."""
        life = str(record.ttl_ms + GRACE_MS)
        await self._listed(record.id, record.ttl_ms + GRACE_MS)
        fields = [part for pair in record.fields().items() for part in pair]
        await self._run(self._scripts.create, record.id, record.worker, life, *fields)
        log.info("task.created", task=record.id[:8])

    async def find(self, task: str, owner: str) -> Record | None:
        """The owner's task as it is now; `None` when there is no such task, for whatever reason."""
        record = await self._load(task)
        return None if record is None or record.owner != owner else await self._now(task, record)

    async def look(self, task: str) -> Record | None:
        """Anybody's task as it is now."""
        record = await self._load(task)
        return None if record is None else await self._now(task, record)

    async def page(self, before: str, count: int) -> list[tuple[str, Record | None]]:
        """Tasks of everybody, those that are forgotten last first, each with its place in that order.

        A task that is not there any more is `None`. One whose worker is dead is as it was stored: see `look`.

        Args:
            before: the place after which to go on; empty: from the start.
        """
        names = self._state.keys
        with self._state.guard():
            places: Any = await self._state.redis.zrevrangebylex(
                names.tasks(), f"({before}" if before else "+", "-", start=0, num=count
            )
        found = await asyncio.gather(*(self._load(place.partition(":")[2]) for place in places))
        return list(zip(places, found, strict=True))

    async def count(self) -> int:
        """How many tasks there are."""
        now_ms = f"({int(self._state.clock() * 1000):014d}"
        with self._state.guard():
            return int(await self._state.redis.zlexcount(self._state.keys.tasks(), now_ms, "+"))

    async def _listed(self, task: str, life_ms: int) -> None:
        """Put a task in the list of all, and take out those that are forgotten by now."""
        now_ms, key = int(self._state.clock() * 1000), self._state.keys.tasks()
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zremrangebylex(key, "-", f"({now_ms:014d}")
                pipe.zadd(key, {f"{now_ms + life_ms:014d}:{task}": 0})
                pipe.pexpire(key, life_ms, gt=True)
                pipe.pexpire(key, life_ms, nx=True)
                await pipe.execute()

    async def _now(self, task: str, record: Record) -> Record | None:
        """The record, once a task whose worker died is ended."""
        if record.ended or await self._alive(record.worker):
            return record
        await self.end(task, "failed", lost(), worker=record.worker)
        log.warning("task.worker_lost", task=task[:8], worker=record.worker)
        return await self._load(task)

    async def end(self, task: str, status: Ending, outcome: Any = None, *, worker: str = "") -> Verdict:
        """End a task, unless it has ended; `worker` says whose it must be."""
        fields = ["status", status]
        if outcome is not None:
            fields += ["outcome", json.dumps(outcome)]
        if status == "failed":
            fields += ["message", outcome["message"]]
        return await self._run(self._scripts.change, task, worker, *fields)

    async def say(self, task: str, message: str, *, worker: str) -> Verdict:
        """Store a task's status message."""
        return await self._run(self._scripts.change, task, worker, "message", message)

    async def ask(self, task: str, key: str, question: Mapping[str, Any], *, worker: str) -> Verdict:
        """Put a question to the client."""
        return await self._run(self._scripts.ask, task, worker, key, json.dumps(question))

    async def answer(self, task: str, answers: Mapping[str, Any]) -> Verdict:
        """Store answers to open questions; those to anything else are ignored."""
        return await self._run(self._scripts.answer, task, "", *_pairs(answers, json.dumps))

    async def withdraw(self, task: str, key: str, *, worker: str) -> Verdict:
        """Take a question back."""
        return await self._run(self._scripts.answer, task, worker, key, "")

    async def news(self, task: str, keys: list[str]) -> tuple[bool, dict[str, Any]]:
        """Whether the task still runs, and which of the questions have been answered."""
        names = self._state.keys
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.hget(names.task(task), "status")
                if keys:
                    pipe.hmget(names.task_answers(task), keys)
                replies: Any = await pipe.execute()
        found = replies[1] if keys else []
        answered = {key: json.loads(text) for key, text in zip(keys, found, strict=True) if text is not None}
        return replies[0] in ("working", "input_required"), answered

    def changes(self, task: str, look: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """Have `look` called after each change, from the confirmation on."""
        return self._state.pubsub.subscribed(self._state.keys.task_changes(task), look)

    async def _load(self, task: str) -> Record | None:
        if not _ID.fullmatch(task):
            return None
        names = self._state.keys
        with self._state.guard():
            found = await self._scripts.load(keys=[names.task(task), names.task_asks(task)])
        fields, asks = map(_paired, found)
        return Record.read(task, fields, asks) if fields else None

    async def _run(self, script: Any, task: str, worker: str, *arguments: str) -> Verdict:
        names = self._state.keys
        keys = [names.task(task), names.task_asks(task), names.task_answers(task)]
        with self._state.guard():
            reply = await script(keys=keys, args=[names.task_changes(task), worker, now(), *arguments])
        return cast(Verdict, reply)


def _paired(flat: list[str]) -> dict[str, str]:
    """A hash as a script gives it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _pairs(values: Mapping[str, Any], shown: Callable[[Any], str]) -> list[str]:
    return [part for key, value in values.items() for part in (key, shown(value))]
