"""What is there already: `source: command`, a program, and `source: local`, a folder or file used where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from switchboard.config import ServerSection
from switchboard.config.placeholders import names_in
from switchboard.sources.launch import Launch, SourceContext, SourceFailure
from switchboard.sources.project import Project, started_file
from switchboard.sources.project import prepare as prepare_project


async def prepare_command(_name: str, section: ServerSection, context: SourceContext) -> Launch:
    """The program as it is; it must exist."""
    return located(section, context)


def located(section: ServerSection, context: SourceContext) -> Launch:
    """Where the program is.

    Raises:
        SourceFailure: it, or the folder it is to start in, is not there.
    """
    command = section.command or ""
    path = section.env.get("PATH") or context.environment.get("PATH")
    cwd = context.path(section.cwd) if section.cwd else None
    own = cwd is not None and bool(names_in(cwd))  # each connection's folder is made when it is opened
    if cwd is not None and not own and not cwd.is_dir():
        raise SourceFailure(f"the folder {cwd} is not there")
    written = (cwd / command if cwd and not own else context.path(Path(command))) if "/" in command else None
    found = str(written) if written and written.exists() else shutil.which(command, path=path)
    if found is None:
        where = "there" if written else "on the PATH"
        raise SourceFailure(f"the program {command!r} is not {where}")
    return Launch(found, section.args, section.env, cwd)


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """What its folder tells, or the file itself."""
    if section.path is None:
        raise SourceFailure("no `path` is given")
    path = context.path(section.path)
    if path.is_dir():
        return await prepare_project(Project(name, section, path, context, str(path), editable=True), str(path))
    if not path.is_file():
        raise SourceFailure(f"{path} is not there")
    start = started_file(path)
    cwd = context.path(section.cwd) if section.cwd else path.parent
    return Launch(start[0], (*start[1:], *section.args), section.env, cwd, pinned=str(path))
