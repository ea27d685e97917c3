"""What a source gives, and what it is given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from switchboard.errors import SwitchboardError

log = structlog.get_logger(__name__)


class SourceFailure(SwitchboardError):
    """A server cannot be made ready to start; the message says what was tried and what came of it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A child to start."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to what every child gets."""

    cwd: Path | None = None
    pinned: str = ""
    """What exactly is started: `mcp-server-time 1.2.3`, a commit; empty where nobody knows."""


class Output(str):
    """A step that is a line of an installer's output: of use when something fails."""

    __slots__ = ()


def _logged(server: str, step: str) -> None:
    (log.debug if isinstance(step, Output) else log.info)("source.progress", server=server, step=step)


@dataclass(frozen=True)
class SourceContext:
    """What strategies stand on.

    Args:
        cache: the folder for what is installed.
        environment: the worker's own; installers get a part of it.
        base: what relative paths in the configuration are relative to: the file's folder.
        say: told each step, and each line that an installer prints, with the server's name.
        python: the interpreter that makes virtual environments.
    """

    cache: Path
    environment: Mapping[str, str]
    base: Path = field(default_factory=Path)
    say: Callable[[str, str], None] = _logged
    python: str = sys.executable

    def path(self, written: Path) -> Path:
        """A path as the configuration means it."""
        return (self.base / written.expanduser()).absolute()
