"""A folder with source code: what it is, what it needs installed, and how it starts.

| found | installed | started |
|---|---|---|
| `pyproject.toml` with `[project]` | the project, into a virtual environment in the cache | its program, or `command` |
| `requirements.txt` | the requirements, likewise | `command` |
| `package.json` | its dependencies, in the folder; then `build`, if need be | its `bin` or `main`, or `command` |

The first row that applies counts. A `command` starts in the folder, with the environment's programs before others.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from switchboard.config import ServerSection
from switchboard.sources import node, python
from switchboard.sources.install_cache import Facts, forget, installed
from switchboard.sources.installer import run
from switchboard.sources.launch import Launch, SourceContext, SourceFailure

MANIFESTS: Final = ("pyproject.toml", "requirements.txt", "package.json", "package-lock.json")


@dataclass(frozen=True)
class Project:
    """A folder to start a server from."""

    name: str
    section: ServerSection
    folder: Path
    context: SourceContext
    identity: str
    """What makes it differ from other projects in the cache."""

    editable: bool
    """Whether changes of the code should count without installing anew."""

    @property
    def say(self) -> Callable[[str], None]:
        """Tells progress."""
        return partial(self.context.say, self.name)

    @property
    def wanted(self) -> Mapping[str, str]:
        """What the installed dependencies belong to: changed manifests want others."""
        texts = [(self.folder / each).read_bytes() for each in MANIFESTS if (self.folder / each).is_file()]
        digest = hashlib.sha256(b"\0".join(texts)).hexdigest()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {"project": self.identity, "manifests": digest, "python": version}


async def prepare(project: Project, pinned: str = "") -> Launch:
    """Install what the project needs; how it starts.

    Raises:
        SourceFailure: nothing tells how.
    """
    for applies, make in _KINDS:
        if applies(project.folder):
            return await make(project, pinned)
    if project.section.command:
        return _started(project, project.section.command, pinned)
    raise SourceFailure(f"{project.folder}: neither {', '.join(MANIFESTS[:3])} is there, nor is a `command` given")


async def _python(project: Project, pinned: str) -> Launch:
    distribution = python.project_name(project.folder)
    needs = [str(project.folder)] if distribution else ["-r", str(project.folder / "requirements.txt")]
    arguments = ["--editable", *needs] if distribution and project.editable else needs

    async def install(folder: Path) -> Facts:
        project.say(f"installing {project.folder.name} and what it needs from PyPI")
        interpreter = await python.environment(project.context, folder, arguments, project.say)
        return await python.brought(project.context, interpreter, distribution or "")

    done = await installed(project.context.cache, "projects", project.wanted, install)
    programs = done.folder / "venv" / "bin"
    if project.section.command or distribution is None:
        return _started(project, project.section.command, pinned, programs)
    start = python.program(programs / "python", distribution, done.facts, project.section.bin)
    return _launch(project, start, pinned, programs)


async def _node(project: Project, pinned: str) -> Launch:
    found = node.manifest(project.folder)
    chosen = None if project.section.command else node.program(found, project.section.bin)
    file = project.folder / (chosen[1] if chosen else str(found.get("main") or "index.js"))

    async def install(_folder: Path) -> Facts:
        project.say(f"installing what {project.folder.name} needs from npm")
        locked = (project.folder / "package-lock.json").is_file()
        npm = partial(run, "npm", worker=project.context.environment, say=project.say, cwd=project.folder)
        await npm(*(("ci",) if locked else ("install", "--no-package-lock")), *node.QUIET)
        if not file.exists() and "build" in found.get("scripts", {}):
            project.say("building")
            await npm("run", "build")
        return {}

    wanted = {**project.wanted, "folder": str(project.folder)}
    if found.get("dependencies") and not (project.folder / "node_modules").is_dir():
        forget(project.context.cache, "projects", wanted)
    await installed(project.context.cache, "projects", wanted, install)
    if project.section.command:
        return _started(project, project.section.command, pinned, project.folder / "node_modules" / ".bin")
    if not file.exists():
        raise SourceFailure(f"{file} is not there, not even after installing; name what to start as `command`")
    return _launch(project, ("node", str(file)), pinned, project.folder / "node_modules" / ".bin")


def _started(project: Project, command: str | None, pinned: str, programs: Path | None = None) -> Launch:
    """With the configuration's `command`: a program of its environment, a file of the project, or one on the PATH."""
    if not command:
        raise SourceFailure(f"{project.folder}: what to start there is not known; name it as `command`")
    file = project.folder / command
    if programs is not None and (programs / command).exists():
        return _launch(project, (str(programs / command),), pinned, programs)
    if file.is_file():
        return _launch(project, started_file(file, programs), pinned, programs)
    return _launch(project, (command,), pinned, programs)


def started_file(file: Path, programs: Path | None = None) -> tuple[str, ...]:
    """How a file is started, by its suffix; else it must be a program itself.

    Raises:
        SourceFailure: it is not.
    """
    if file.suffix == ".py":
        own = programs / "python" if programs else None
        return str(own if own and own.exists() else sys.executable), str(file)
    if file.suffix in (".js", ".mjs", ".cjs"):
        return "node", str(file)
    if not os.access(file, os.X_OK):
        raise SourceFailure(f"{file} is neither a Python or Node program nor executable")
    return (str(file),)


def _launch(project: Project, start: tuple[str, ...], pinned: str, programs: Path | None) -> Launch:
    section, context = project.section, project.context
    path = section.env.get("PATH") or context.environment.get("PATH", os.defpath)
    env = {**section.env, "PATH": f"{programs}{os.pathsep}{path}"} if programs else section.env
    cwd = context.path(section.cwd) if section.cwd else project.folder
    return Launch(start[0], (*start[1:], *section.args), env, cwd, pinned=pinned)


def _is_python(folder: Path) -> bool:
    return python.project_name(folder) is not None or (folder / "requirements.txt").is_file()


def _is_node(folder: Path) -> bool:
    return (folder / "package.json").is_file()


_KINDS = ((_is_python, _python), (_is_node, _node))
