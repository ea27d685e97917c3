"""Python packages: a virtual environment of their own, and which program of them is the server."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from switchboard.sources.installer import run
from switchboard.sources.launch import SourceContext, SourceFailure

Say = Callable[[str], None]

_FACTS: Final = """
import json, sys
from importlib.metadata import distribution, distributions
from importlib.util import find_spec
name = sys.argv[1]
found = distribution(name) if name else None
module = name.replace("-", "_").replace(".", "_")
package = find_spec(module) if module else None
runs = bool(package and package.submodule_search_locations and find_spec(module + ".__main__"))
print(json.dumps({
    "version": found.version if found else "",
    "scripts": [each.name for each in found.entry_points if each.group == "console_scripts"] if found else [],
    "module": module if runs else "",
    "all": sorted({f"{each.name}=={each.version}" for each in distributions()}),
}))
"""
"""Run inside the environment: what a distribution brings, and all that is installed."""

_QUIET: Final = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")


async def environment(context: SourceContext, folder: Path, arguments: Sequence[str | Path], say: Say) -> Path:
    """A virtual environment in `folder` with what `pip install` makes of the arguments; its interpreter.

    Raises:
        SourceFailure: with pip's own words.
    """
    home = folder / "venv"
    python = home / "bin" / "python"
    shared = find_spec("pip") is not None and context.python == sys.executable
    say("making a virtual environment")
    # With a pip at hand the environment needs none of its own, which is most of the time that making one takes.
    without = ("--without-pip",) if shared else ()
    await run(context.python, "-m", "venv", *without, home, worker=context.environment, say=say)
    pip = (context.python, "-m", "pip", "--python", python) if shared else (python, "-m", "pip")
    await run(*pip, "install", *_QUIET, *arguments, worker=context.environment, say=say)
    return python


def _unsaid(_line: str) -> None:
    """For output that is an answer, not progress."""


async def brought(context: SourceContext, python: Path, distribution: str) -> dict[str, str]:
    """What an installed distribution brings: its version, programs and module; and a note of all that is installed.

    Raises:
        SourceFailure: it is not installed.
    """
    text = await run(python, "-c", _FACTS, distribution, worker=context.environment, say=_unsaid)
    found = json.loads(text)
    (python.parents[2] / "requirements.txt").write_text("\n".join(found["all"]) + "\n", encoding="utf-8")
    return {"version": found["version"], "scripts": "\n".join(found["scripts"]), "module": found["module"]}


def program(python: Path, distribution: str, facts: Mapping[str, str], wished: str | None) -> tuple[str, ...]:
    """The command that starts the server: the wished program, the one called like the package, the only one, `-m`.

    Raises:
        SourceFailure: there is none, or several and none was wished.
    """
    scripts = [each for each in facts["scripts"].split("\n") if each]
    named = [each for each in scripts if each == (wished or distribution)]
    if wished and not named:
        raise SourceFailure(f"{distribution} has no program {wished!r}; it has: {', '.join(scripts) or 'none'}")
    chosen = named or (scripts if len(scripts) == 1 else [])
    if chosen:
        return (str(python.with_name(chosen[0])),)
    if facts["module"]:
        return str(python), "-m", facts["module"]
    if scripts:
        raise SourceFailure(f"{distribution} has several programs: name one as `bin`: {', '.join(scripts)}")
    raise SourceFailure(f"{distribution} brings no program to start")


def project_name(folder: Path) -> str | None:
    """What a project with a `[project]` table calls itself; `None` when it is not installable.

    Raises:
        SourceFailure: its `pyproject.toml` cannot be read.
    """
    file = folder / "pyproject.toml"
    if not file.is_file():
        return None
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError) as error:
        raise SourceFailure(f"{file}: {error}") from error
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else None
