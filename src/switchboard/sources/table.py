"""The strategies: one row for each kind of source that starts a child; and what a machine lacks for them."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from switchboard.config import ServerSection, SourceKind
from switchboard.sources import docker, git, local, npm, pypi
from switchboard.sources.launch import Launch, SourceContext, SourceFailure
from switchboard.sources.local import located

Strategy = Callable[[str, ServerSection, SourceContext], Awaitable[Launch]]

STRATEGIES: Mapping[SourceKind, Strategy] = {
    "command": local.prepare_command,
    "npm": npm.prepare,
    "pypi": pypi.prepare,
    "git": git.prepare,
    "local": local.prepare,
    "docker": docker.prepare,
}
"""A server at a URL needs nothing made ready, and has no row."""


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """Make a server ready to start: install it if it is not there, and say how it starts.

    Raises:
        SourceFailure: naming the server, with what was tried and what came of it.
    """
    strategy = STRATEGIES.get(section.source)
    if strategy is None:
        raise SourceFailure(f"{name}: a server from {section.source!r} is not started here")
    try:
        return await strategy(name, section, context)
    except SourceFailure as error:
        raise SourceFailure(f"{name}: {error}") from error


PROGRAMS: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    "npm": ("node", "npm"),
    "git": ("git",),
    "docker": ("docker",),
}
"""What a kind of source is prepared and started with."""


def lacking(section: ServerSection, context: SourceContext) -> Iterator[str]:
    """What is not on this machine of what the server needs."""
    for program in PROGRAMS.get(section.source, ()):
        if shutil.which(program, path=context.environment.get("PATH")) is None:
            yield f"the program {program!r}, which servers from {section.source!r} need, is not on the PATH"
    if section.source == "local" and section.path is not None and not context.path(section.path).exists():
        yield f"{context.path(section.path)} is not there"
    elif section.source == "command":
        try:
            located(section, context)
        except SourceFailure as error:
            yield str(error)
    elif section.cwd is not None and not context.path(section.cwd).is_dir():
        yield f"the folder {context.path(section.cwd)} is not there"
