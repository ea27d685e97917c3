"""`source: local`: a folder or file of this machine. Its code is used where it is, so that changes count."""

from __future__ import annotations

from switchboard.config import ServerSection
from switchboard.sources.launch import Launch, SourceContext, SourceFailure
from switchboard.sources.project import Project, started_file
from switchboard.sources.project import prepare as prepare_project


async def prepare(name: str, section: ServerSection, ground: SourceContext) -> Launch:
    """What its folder tells, or the file itself."""
    if section.path is None:
        raise SourceFailure("no `path` is given")
    path = ground.path(section.path)
    if path.is_dir():
        return await prepare_project(Project(name, section, path, ground, str(path), editable=True), str(path))
    if not path.is_file():
        raise SourceFailure(f"{path} is not there")
    start = started_file(path)
    cwd = ground.path(section.cwd) if section.cwd else path.parent
    return Launch(start[0], (*start[1:], *section.args), section.env, cwd, pinned=str(path))
