"""The strategies: one row for each kind of source that starts a child."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from switchboard.config import ServerSection, SourceKind
from switchboard.sources import command, docker, git, local, npm, pypi
from switchboard.sources.launch import Launch, SourceContext, SourceFailure

Strategy = Callable[[str, ServerSection, SourceContext], Awaitable[Launch]]

STRATEGIES: Mapping[SourceKind, Strategy] = {
    "command": command.prepare,
    "npm": npm.prepare,
    "pypi": pypi.prepare,
    "git": git.prepare,
    "local": local.prepare,
    "docker": docker.prepare,
}
"""A server at a URL needs nothing made ready, and has no row."""


async def prepare(name: str, section: ServerSection, ground: SourceContext) -> Launch:
    """Make a server ready to start: install it if it is not there, and say how it starts.

    Raises:
        SourceFailure: naming the server, with what was tried and what came of it.
    """
    strategy = STRATEGIES.get(section.source)
    if strategy is None:
        raise SourceFailure(f"{name}: a server from {section.source!r} is not started here")
    try:
        return await strategy(name, section, ground)
    except SourceFailure as error:
        raise SourceFailure(f"{name}: {error}") from error
