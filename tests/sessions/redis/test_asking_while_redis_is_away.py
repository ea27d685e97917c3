"""A running request that has a question while Redis takes no writes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mcp_types import ClientCapabilities, Implementation, InitializeRequestParams

from switchboard.sessions.records import Records
from switchboard.sessions.streams.reply import Reply
from switchboard.state import State, open_state

CLIENT = InitializeRequestParams(
    protocol_version="2025-11-25",
    capabilities=ClientCapabilities(),
    client_info=Implementation(name="tests", version="1"),
)
WITHIN_S = 10


async def test_a_question_is_asked_once_redis_takes_writes_again(redis_url: str) -> None:
    async with open_state(redis_url) as state, asyncio.TaskGroup() as tasks, asyncio.timeout(WITHIN_S):
        records = Records(state, 60)
        record = await records.load(await records.create("me", "2025-11-25", CLIENT), "me")
        reply = Reply(state, record, "w1", records.ttl_ms, [1], tasks)
        await reply.commit()
        events = reply.events()
        await anext(events)
        await state.redis.config_set("maxmemory", "1")  # every write is refused from now on
        asking = tasks.create_task(reply.ask("roots/list", None, None))
        try:
            done, _ = await asyncio.wait({asking}, timeout=0.5)
            assert not done, asking.exception()
        finally:
            await state.redis.config_set("maxmemory", "0")
        question = json.loads((await anext(events)).decode().split("data: ")[1])
        await answer(state, record.sid, question["id"], {"roots": []})
        assert await asking == {"roots": []}
        await reply.close()


async def answer(state: State, sid: str, request: str, result: dict[str, Any]) -> None:
    message = json.dumps({"jsonrpc": "2.0", "id": request, "result": result})
    keys = [state.keys.session(sid), state.keys.inbox(sid, request)]
    assert await state.scripts.fill(keys=keys, args=[state.keys.to_server(sid), message]) == ["ok"]
