"""Connections to Redis that are closed while somebody uses them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from switchboard.state import open_state


async def test_a_connection_that_another_task_closes_is_a_lost_connection_to_who_writes(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        pool: Any = state.redis.connection_pool
        connection = await pool.get_connection()
        sending = asyncio.ensure_future(connection.send_command("PING"))
        await asyncio.sleep(0)  # the writer has seen an open connection, and has not written yet
        await connection.disconnect(nowait=True)
        with pytest.raises(RedisConnectionError, match="closed while it was in use"):
            await sending
        await pool.release(connection)
        assert await state.redis.ping()
