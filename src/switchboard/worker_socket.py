"""Asking the worker that serves a port of this machine, where there is no Redis to ask through.

Part of the composition root. The worker listens on a socket file that only its user can reach; one line of JSON asks,
one answers. Where the folder cannot be had the worker serves all the same, and says in its log that it cannot be asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import structlog

from switchboard.common.private_files import check_private_folder, make_private_folder
from switchboard.worker_control import ANSWER_S, WorkerControl, patience

log = structlog.get_logger(__name__)

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of an answer."""


def socket_file(port: int) -> Path:
    """Where the worker that serves a port listens."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "switchboard" if base else Path(tempfile.gettempdir()) / f"switchboard-{os.getuid()}"
    return folder / f"{port}.sock"


@asynccontextmanager
async def answering_here(port: int, control: WorkerControl) -> AsyncIterator[None]:
    """Answer whoever asks on this machine, as this user."""
    file = socket_file(port)

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                asked = json.loads(await reader.readline())
                question = asked if isinstance(asked, dict) else {}
            async with asyncio.timeout(patience(question)):
                writer.write(json.dumps(await control.answer(question)).encode() + b"\n")
                await writer.drain()
        writer.close()

    try:
        make_private_folder(file.parent)
        if _listens(file):
            raise FileExistsError(f"another worker answers at {file}")
        file.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(answered, file)
        file.chmod(0o600)
    except OSError as error:
        log.warning("worker_socket.refused", reason=str(error), lost="`switchboard servers` cannot ask this worker")
        yield
        return
    try:
        yield
    finally:
        server.close()
        file.unlink(missing_ok=True)


async def ask_here(port: int, **question: str | None) -> list[Mapping[str, Any]]:
    """The answer of the worker that serves a port of this machine; none if there is no such worker.

    Args:
        question: see `worker_control.ask`.
    """
    try:
        async with asyncio.timeout(patience(question)):
            check_private_folder(socket_file(port).parent)  # else whoever made it would answer for our worker
            reader, writer = await asyncio.open_unix_connection(socket_file(port), limit=LONGEST)
            try:
                writer.write(json.dumps(question).encode() + b"\n")
                return [json.loads(await reader.readline())]
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return []


def nobody(port: int) -> str:
    """What to say when nobody answered."""
    with suppress(FileNotFoundError):
        try:
            check_private_folder(socket_file(port).parent)
        except PermissionError as error:
            return f"no worker can be asked: {error}"
    ports = sorted(file.stem for file in socket_file(port).parent.glob("*.sock") if _listens(file))
    others = f"; there is one at {', '.join(ports)}" if ports else ""
    return f"no running worker answers for port {port}{others}: PORT says which to ask, and for a fleet REDIS_URL"


def _listens(file: Path) -> bool:
    """Whether a process listens there; a worker that was killed leaves its socket file behind."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(ANSWER_S)
        return tried.connect_ex(str(file)) == 0
