"""Asking the workers of a fleet how their servers are doing, and telling them to restart one.

Part of the composition root. A question goes out on one channel; each worker appends its answer to a list that lives
for a few seconds. The command line asks with `ask`, a worker answers while it runs `answering`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from switchboard.errors import StateUnavailable
from switchboard.state import State
from switchboard.state.payloads import parsed

log = structlog.get_logger(__name__)

ANSWER_LIFE_MS: Final = 15_000
PATIENCE_S: Final = 3.0
"""What a worker has to answer."""

_REPLY: Final = re.compile(r"[0-9a-f]{1,64}")

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
    question = parsed(payload) or {}
    reply, named = question.get("reply"), question.get("restart")
    if not isinstance(reply, str) or not _REPLY.fullmatch(reply) or not isinstance(named, str | None):
        log.warning("inquiry.not_understood", length=len(payload))  # another version's, or not from one of us
        return
    done = restart(named) if named else None
    key = state.keys.servers_answer(reply)
    try:
        with state.guard():
            async with state.redis.pipeline(transaction=True) as pipe:
                pipe.rpush(key, json.dumps({**tell(), "restarted": done}))
                pipe.pexpire(key, ANSWER_LIFE_MS)
                await pipe.execute()
    except (StateUnavailable, ResponseError) as error:
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
        if found and (answer := parsed(str(found[1]))) is not None:
            answers.append({"worker": "", "servers": [], **answer})
    return sorted(answers, key=lambda answer: str(answer["worker"]))
