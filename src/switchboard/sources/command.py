"""No source, or `source: command`: a program that is there already."""

from __future__ import annotations

import shutil
from pathlib import Path

from switchboard.config import ServerSection
from switchboard.config.placeholders import names_in
from switchboard.sources.launch import Launch, SourceContext, SourceFailure


async def prepare(_name: str, section: ServerSection, ground: SourceContext) -> Launch:
    """The program as it is; it must exist."""
    return located(section, ground)


def located(section: ServerSection, ground: SourceContext) -> Launch:
    """Where the program is.

    Raises:
        SourceFailure: it, or the folder it is to start in, is not there.
    """
    command = section.command or ""
    path = section.env.get("PATH") or ground.environment.get("PATH")
    cwd = ground.path(section.cwd) if section.cwd else None
    own = cwd is not None and bool(names_in(cwd))  # each connection's folder is made when it is opened
    if cwd is not None and not own and not cwd.is_dir():
        raise SourceFailure(f"the folder {cwd} is not there")
    written = (cwd / command if cwd and not own else ground.path(Path(command))) if "/" in command else None
    found = str(written) if written and written.exists() else shutil.which(command, path=path)
    if found is None:
        where = "there" if written else "on the PATH"
        raise SourceFailure(f"the program {command!r} is not {where}")
    return Launch(found, section.args, section.env, cwd)
