"""`python -m tools.chaos.clients SPEC`: one process with a share of the clients; SIGTERM ends its load."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.chaos.handshake import HandshakeClient
from tools.chaos.load import TOOLS, Setting, until
from tools.chaos.modern import ModernClient
from tools.chaos.observations import Lag, ObservationLog

TICK_S = 0.1
OPENING_AT_ONCE = 8
Client = HandshakeClient | ModernClient


async def run(spec: dict[str, Any], log: ObservationLog, ready: Callable[[], None]) -> None:
    """Open every session and stream, say so, work until told, look once more, and leave."""
    over, closing = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    basics = (spec["port"], spec["replay"], spec["pause"], log, over, closing, spec["token"])
    setting = Setting(*basics, *TOOLS[spec["tools"]])
    clients = [_client(number, setting) for number in range(spec["first"], spec["first"] + spec["count"])]
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(_open(client, gate, spec["patience"])) for client in clients]
        streams = [await each for each in listening]
        ready()
        watching = tasks.create_task(_watch_lag(log, closing))
        work = [tasks.create_task(client.work()) for client in clients]
        await over.wait()
        for client in clients:
            await client.idle.wait()
        await asyncio.sleep(spec["settle"])
        closing.set()
        await asyncio.wait([*work, *streams], timeout=5)
        for stream in (*streams, *work):
            stream.cancel()
        await watching


async def _open(client: Client, gate: asyncio.Semaphore, patience: float) -> asyncio.Task[None]:
    async with gate:
        await client.open()
        stream = asyncio.ensure_future(client.listen())
        if not await until(client.listening, patience):
            print(f"{client.name}: no event says that its stream is open", file=sys.stderr)
        return stream


async def _watch_lag(log: ObservationLog, closing: asyncio.Event) -> None:
    worst = 0.0
    while not closing.is_set():
        before = time.monotonic()
        await asyncio.sleep(TICK_S)
        worst = max(worst, time.monotonic() - before - TICK_S)
    log.write(Lag(worst))


def _client(number: int, setting: Setting) -> Client:
    """Every other client is of the other era, if that has any calls."""
    modern = number % 2 and setting.modern
    return ModernClient(f"m{number}", setting) if modern else HandshakeClient(f"h{number}", setting)


def main() -> None:
    """Run one process's share."""
    spec = json.loads(sys.argv[1])
    with Path(spec["observations"]).open("w") as out:
        asyncio.run(run(spec, ObservationLog(out), Path(spec["ready"]).touch))


if __name__ == "__main__":
    main()
