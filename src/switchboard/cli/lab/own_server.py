"""A server with a lab for one run: on a free port of loopback, with state in its memory, ended with the command."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2

from switchboard.cli.lab.asking import LabUnreachable
from switchboard.settings import Settings

READY_S: Final = 60.0
POLL_S: Final = 0.1
LAST_LINES: Final = 5


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[str]:
    """Its base URL, once it is ready.

    Args:
        folder: where it may write; empty, so that no `.env` is read.

    Raises:
        LabUnreachable: it ended, or is not ready in time.
    """
    port = _free_port()
    log = folder / "server.log"
    names = {name.upper() for name in Settings.model_fields}
    base = f"http://127.0.0.1:{port}"
    given = {"LAB": "on", "HOST": "127.0.0.1", "PORT": str(port), "BASE_URI": base, "RATE_LIMIT": "0"}
    environment = {name: value for name, value in os.environ.items() if name.upper() not in names} | given
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "switchboard",
            "serve",
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        await _ready(f"{base}/readyz", process, log)
        yield base
    finally:
        if process.returncode is None:
            process.kill()  # it holds nothing that has to be kept
        await process.wait()


async def _ready(address: str, process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(READY_S), httpx2.AsyncClient(trust_env=False) as client:
            while process.returncode is None:
                try:
                    if (await client.get(address)).is_success:
                        return
                except httpx2.HTTPError:
                    pass
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pass
    said = _last_lines(log)
    raise LabUnreachable(f"the server that was started for this run is not ready:\n{said}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
