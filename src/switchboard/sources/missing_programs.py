"""What a machine lacks to start the servers of a configuration; nothing is installed or started to find out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from typing import Final

from switchboard.config import ServerSection, SourceKind
from switchboard.sources.command import located
from switchboard.sources.launch import SourceContext, SourceFailure

PROGRAMS: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    "npm": ("node", "npm"),
    "git": ("git",),
    "docker": ("docker",),
}
"""What a kind of source is prepared and started with."""


def lacking(section: ServerSection, ground: SourceContext) -> Iterator[str]:
    """What is not on this machine of what the server needs."""
    for program in PROGRAMS.get(section.source, ()):
        if shutil.which(program, path=ground.environment.get("PATH")) is None:
            yield f"the program {program!r}, which servers from {section.source!r} need, is not on the PATH"
    if section.source == "local" and section.path is not None and not ground.path(section.path).exists():
        yield f"{ground.path(section.path)} is not there"
    elif section.source == "command":
        try:
            located(section, ground)
        except SourceFailure as error:
            yield str(error)
    elif section.cwd is not None and not ground.path(section.cwd).is_dir():
        yield f"the folder {ground.path(section.cwd)} is not there"
