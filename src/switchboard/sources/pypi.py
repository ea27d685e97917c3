"""`source: pypi`: a package in a virtual environment of its own."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

from switchboard.config import ServerSection
from switchboard.sources import python
from switchboard.sources.install_cache import Facts, installed
from switchboard.sources.launch import Launch, SourceContext, SourceFailure

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9,._-]+\])?$")
"""https://packaging.python.org/en/latest/specifications/dependency-specifiers/, the name and its extras."""


async def prepare(name: str, section: ServerSection, context: SourceContext) -> Launch:
    """Install it once, pinned; start what it brings."""
    package = section.package or ""
    known = _REQUIREMENT.match(package)
    if known is None:
        raise SourceFailure(f"{package!r} is not the name of a package; a version is stated as `version`")
    wanted = {
        "package": package,
        "version": section.version or "",
        "with": " ".join(section.extras),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    say = partial(context.say, name)

    async def install(folder: Path) -> Facts:
        requirement = f"{package}=={section.version}" if section.version else package
        say(f"installing {requirement} from PyPI")
        interpreter = await python.environment(context, folder, [requirement, *section.extras], say)
        found = await python.brought(context, interpreter, known[1])
        say(f"installed {known[1]} {found['version']}")
        return found

    done = await installed(context.cache, "pypi", wanted, install)
    start = python.program(done.folder / "venv" / "bin" / "python", known[1], done.facts, section.bin)
    return Launch(
        start[0],
        (*start[1:], *section.args),
        section.env,
        context.path(section.cwd) if section.cwd else None,
        pinned=f"{known[1]} {done.facts['version']}",
    )
