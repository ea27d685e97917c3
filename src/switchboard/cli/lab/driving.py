"""Runs a client once: a process group of its own, its last output, and how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

KEPT_BYTES: Final = 16_384
"""Of a client's output, from its end."""

GRACE_S: Final = 3.0
"""Between asking a client to end and ending it."""

NOT_FOUND, NOT_STARTED = 127, 126
"""The exit codes that a shell has for a command that is not there, or cannot be run."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a client ended.

    Args:
        exit: its exit code; below 0 the signal that ended it.
        timed_out: it was still running when its time was over.
        output: the end of what it wrote, standard error with it.
    """

    exit: int
    timed_out: bool
    seconds: float
    output: str

    @property
    def told(self) -> str:
        """In words."""
        return told(self.exit, timed_out=self.timed_out)


def told(code: int, *, timed_out: bool) -> str:
    """How a client ended, in words."""
    if timed_out:
        return "ended when its time was over"
    if code < 0:
        known = {each.value: each.name for each in signal.Signals}
        return f"ended by {known.get(-code, f'signal {-code}')}"
    return f"exit {code}"


def filled(command: Sequence[str], url: str) -> list[str]:
    """The command for one endpoint: `{url}` replaced, or the URL added at the end where no `{url}` is."""
    if any("{url}" in part for part in command):
        return [part.replace("{url}", url) for part in command]
    return [*command, url]


async def driven(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> Ended:
    """Run a command to its end, at most `timeout` seconds, and end all that it left running in its process group."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError):
        return Ended(NOT_FOUND, False, 0.0, f"{command[0]}: there is no such command")
    except OSError as error:
        return Ended(NOT_STARTED, False, 0.0, f"{command[0]}: {error.strerror}")
    output = _Output()
    reading = asyncio.create_task(output.read(process.stdout))
    timed_out = False
    try:
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            timed_out = True
            _signal(process.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
    finally:
        _signal(process.pid, signal.SIGKILL)
        code = await process.wait()
        with suppress(TimeoutError):  # something that left the process group may still hold the pipe
            async with asyncio.timeout(GRACE_S):
                await reading
    return Ended(code, timed_out, round(loop.time() - began, 2), output.text())


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
        os.killpg(group, number)


class _Output:
    """The end of what is read."""

    def __init__(self) -> None:
        self._kept = b""

    async def read(self, stream: asyncio.StreamReader | None) -> None:
        while stream and (part := await stream.read(KEPT_BYTES)):
            self._kept = (self._kept + part)[-KEPT_BYTES:]

    def text(self) -> str:
        return self._kept.decode(errors="replace")
