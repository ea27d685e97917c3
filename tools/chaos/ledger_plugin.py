"""The plugin that the workers run: tools whose every effect is written to the ledger, a Redis that no fault touches.

A row says what was done for which client and call number, on which worker and when. `account` compares these rows with
what clients observed: that shows what a client never received, and what was done twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from redis.asyncio import BlockingConnectionPool, Redis

from switchboard.plugins import Host, Plugin
from switchboard.sessions import records

ROWS: Final = "rows"
"""The ledger's list."""

LATER: Final = "CHAOS_LATER"
"""The environment variable that makes a worker write session records as the next version of Switchboard would."""

SAID: Final = "chaos://said/"
VALUE: Final = "chaos://value/"


class Ledger:
    """Appends rows; whoever awaited `write` knows that the row is there."""

    def __init__(self, url: str, worker: str) -> None:
        self.redis = Redis.from_pool(BlockingConnectionPool.from_url(url, decode_responses=True, max_connections=64))
        self._worker = worker

    async def write(self, what: str, client: str, seq: int, number: int = 0) -> None:
        """Say what was done for call `seq` of `client`."""
        row = {"what": what, "client": client, "seq": seq, "n": number, "worker": self._worker, "t": time.time()}
        answer: Any = self.redis.rpush(ROWS, json.dumps(row))
        await answer


class Number(BaseModel):
    """What a client is asked for."""

    number: int


def plugin(config: Mapping[str, object]) -> Plugin:
    """The factory that the entry point names; `config` says where the ledger is and which worker writes."""
    ledger = Ledger(str(config["ledger"]), str(config["worker"]))
    if os.environ.get(LATER):
        _become_the_next_version()

    @asynccontextmanager
    async def running(_host: Host) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await ledger.redis.aclose()

    return Plugin("chaos", "1.0.0", ledger_server(ledger), running)


def _become_the_next_version() -> None:
    later = records.RECORD_VERSION + 1
    vars(records).update(RECORD_VERSION=later, READABLE=frozenset(str(later + step) for step in (-1, 0, 1)))


def ledger_server(ledger: Ledger) -> MCPServer[Any]:
    """The tools, as a server that needs nothing of Switchboard."""
    server: MCPServer[Any] = MCPServer("chaos")
    for tool in (_note(ledger), _count(ledger), _say(ledger), _ask(ledger), _bump(ledger), _value(ledger)):
        server.add_tool(tool)

    @server.resource(f"{VALUE}{{client}}")
    def value(client: str) -> str:
        """What clients of the modern era follow: there to be subscribed to, its changes are what is counted."""
        return client

    return server


def _note(ledger: Ledger) -> Any:
    async def note(client: str, seq: int, seconds: float = 0) -> str:
        """Do one thing, once."""
        await ledger.write("started", client, seq)
        await anyio.sleep(seconds)
        await ledger.write("done", client, seq)
        return str(seq)

    return note


def _count(ledger: Ledger) -> Any:
    async def count(client: str, seq: int, steps: int, seconds: float, ctx: Context[Any]) -> str:
        """Report progress, numbered."""
        await ledger.write("started", client, seq)
        for step in range(1, steps + 1):
            await anyio.sleep(seconds / steps)
            await ctx.report_progress(step, steps)
            await ledger.write("emitted", client, seq, step)
        await ledger.write("done", client, seq)
        return str(seq)

    return count


def _say(ledger: Ledger) -> Any:
    async def say(client: str, seq: int, ctx: Context[Any]) -> str:
        """Send a notification on the standalone stream, numbered."""
        await ledger.write("started", client, seq)
        await ctx.session.send_resource_updated(f"{SAID}{seq}")
        await ledger.write("said", client, seq, seq)
        await ledger.write("done", client, seq)
        return str(seq)

    return say


def _ask(ledger: Ledger) -> Any:
    async def ask(client: str, seq: int, ctx: Context[Any]) -> str:
        """Ask the client for its number; the answer comes by way of any worker."""
        await ledger.write("started", client, seq)
        answer = await ctx.elicit("Which number?", Number)
        await ledger.write("done", client, seq)
        return str(answer.data.number if answer.action == "accept" else -1)

    return ask


def _bump(ledger: Ledger) -> Any:
    async def bump(client: str, seq: int, ctx: Context[Any]) -> str:
        """Change a value, and tell whoever listens for it."""
        await ledger.write("started", client, seq)
        await ledger.redis.set(f"value:{client}", seq)
        await ctx.notify_resource_updated(f"{VALUE}{client}")
        await ledger.write("bumped", client, seq, seq)
        await ledger.write("done", client, seq)
        return str(seq)

    return bump


def _value(ledger: Ledger) -> Any:
    async def value(client: str) -> str:
        """Read the value; a reading is no effect, so the ledger does not note it."""
        return str(await ledger.redis.get(f"value:{client}") or "0")

    return value
