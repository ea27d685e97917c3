"""Asking the workers of a fleet how their servers are doing, and telling them to restart one.

Part of the composition root. A question goes out on one channel; each worker appends its answer to a list that lives
for a few seconds. The command line asks with `ask`, a worker answers while it runs `answering`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from switchboard.errors import StateUnavailable
from switchboard.state import State

log = structlog.get_logger(__name__)

ANSWER_LIFE_MS: Final = 15_000
PATIENCE_S: Final = 3.0
"""What a worker has to answer."""

Tell = Callable[[], Mapping[str, Any]]
Restart = Callable[[str], bool]


@asynccontextmanager
async def answering(state: State, tell: Tell, restart: Restart) -> AsyncIterator[None]:
    """Answer, for this worker."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:

        def heard(payload: str) -> None:
            if payload:  # an empty one says that something may have been missed: the asker will ask again
                tasks.create_task(_answered(state, payload, tell, restart))

        try:
            async with state.hub.subscribed(state.keys.servers(), heard):
                yield
        except Exception as error:  # taken past the group, which would wrap what is not its own
            failure = error
    if failure is not None:
        raise failure


async def _answered(state: State, payload: str, tell: Tell, restart: Restart) -> None:
    question = json.loads(payload)
    done = restart(question["restart"]) if question.get("restart") else None
    key = state.keys.servers_answer(question["reply"])
    try:
        with state.guard():
            async with state.redis.pipeline(transaction=True) as pipe:
                pipe.rpush(key, json.dumps({**tell(), "restarted": done}))
                pipe.pexpire(key, ANSWER_LIFE_MS)
                await pipe.execute()
    except StateUnavailable as error:
        log.warning("an inquiry could not be answered", reason=str(error))


async def ask(state: State, *, restart: str | None = None, patience: float = PATIENCE_S) -> list[Mapping[str, Any]]:
    """The answers of all workers that are alive, or of those that answered in time.

    Raises:
        StateUnavailable: Redis is away.
    """
    reply = secrets.token_hex(8)
    key = state.keys.servers_answer(reply)
    with state.guard():
        expected = len([each async for each in state.redis.scan_iter(match=state.keys.worker("*"), count=500)])
    await state.hub.publish(state.keys.servers(), json.dumps({"reply": reply, "restart": restart}))
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    answers: list[Mapping[str, Any]] = []
    while len(answers) < expected and loop.time() < until:
        with state.guard():
            found = await state.redis.blpop([key], timeout=1)
        if found:
            answers.append(json.loads(found[1]))
    return sorted(answers, key=lambda answer: str(answer["worker"]))
