"""Running an installer: its output is progress, its failure a reason, and no process of it is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from switchboard.log import redact_text
from switchboard.sources.launch import Output, SourceFailure

INSTALL_S: Final = 900.0
REAP_S: Final = 5.0
"""For what was killed to be gone; only what has left its group can hold that up."""

TAIL: Final = 8
LONGEST_LINE: Final = 400

PASSED: Final = frozenset(
    {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER"}
    | {"CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"}
    | {"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy"}
)
PASSED_PREFIXES: Final = ("GIT_", "LC_", "NPM_CONFIG_", "PIP_", "UV_", "XDG_", "npm_config_")
"""What says where packages come from and how to get there. Everything else of the worker's is none of their business:
installers run code of strangers."""


def environment(worker: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """An installer's environment."""
    kept = {key: value for key, value in worker.items() if key in PASSED or key.startswith(PASSED_PREFIXES)}
    return kept | dict(more)


async def run(
    *command: str | Path,
    worker: Mapping[str, str],
    say: Callable[[str], None],
    cwd: Path | None = None,
    more: Mapping[str, str] | None = None,
    patience: float = INSTALL_S,
) -> str:
    """Run to the end; what it wrote to standard output.

    Raises:
        SourceFailure: it cannot be started, fails (with its last lines), or takes too long.
    """
    words = [str(word) for word in command]
    name = redact_text(f"{Path(words[0]).name} {' '.join(words[1:5])}".split("\n")[0])
    env = environment(worker, more or {})
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise SourceFailure(f"{words[0]!r} cannot be started: {error.strerror}") from error
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        async with asyncio.timeout(patience):
            output, _, code = await asyncio.gather(
                _heard(process.stdout, tail, say), _heard(process.stderr, tail, say), process.wait()
            )
    except TimeoutError:
        raise SourceFailure(f"{name} did not end within {patience:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                await process.wait()
    if code != 0:
        raise SourceFailure(f"{name} failed with exit code {code}: {' | '.join(tail)}")
    return output


async def _heard(stream: asyncio.StreamReader | None, tail: deque[str], say: Callable[[str], None]) -> str:
    """Every line of a stream, told one by one; in the end the whole, as far as it is reasonable."""
    if stream is None:
        return ""
    kept: list[str] = []
    rest = b""
    while chunk := await stream.read(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-65_536:]
        for line in lines:
            _note(line, kept, tail, say)
    _note(rest, kept, tail, say)
    return "\n".join(kept)


def _note(raw: bytes, kept: list[str], tail: deque[str], say: Callable[[str], None]) -> None:
    line = raw.decode(errors="replace").rstrip()
    if len(kept) < 10_000:
        kept.append(line)
    if line:
        short = redact_text(line[:LONGEST_LINE])
        tail.append(short)
        say(Output(short))
