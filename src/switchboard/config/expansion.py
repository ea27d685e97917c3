"""References to variables in the values of the configuration file.

`${VAR}`, `${VAR:-default}`, and what editors write: `${env:VAR}`, `${userHome}`, `${pathSeparator}`, `${/}`. `$${` is a
literal `${`. Whatever else stands in `${…}` is refused, so that no program is started with a reference in place of a
value: editors ask a person for `${input:…}` and know a folder for `${workspaceFolder}`, and a server has neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_EDITORS_OWN: Final = re.compile(
    r"workspace(Folder|Root)(Basename)?(:.*)?|file[A-Z]?\w*|relativeFile\w*|fileBasename\w*|cwd|execPath|"
    r"lineNumber|selectedText|defaultBuildTask|(config|command|extensionInstallFolder):.*|__dirname|"
    r"user_config\..*|CLAUDE_PLUGIN_ROOT"
)
"""What editors and desktop clients replace by something that only they know."""

Place = tuple[str | int, ...]


class UnresolvedReference(ValueError):
    """A reference that stands for nothing here; the message says what to write instead."""

    def __init__(self, message: str, path: Place) -> None:
        super().__init__(message)
        self.path = path


def expanded(value: object, variables: Mapping[str, str], path: Place = (), kept: Collection[str] = ()) -> object:
    """`value` with every reference in every string replaced. As in a shell, `:-` counts an empty variable as unset.

    Args:
        value: a document or a part of one.
        variables: what references stand for.
        path: where `value` stands.
        kept: names that are resolved later; references to them stay as they are written.

    Raises:
        UnresolvedReference: with the path of the value that needs it.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: _resolved(found, variables, path, kept), value)
    if isinstance(value, Mapping):
        return {key: expanded(member, variables, (*path, key), kept) for key, member in value.items()}
    if isinstance(value, list):
        return [expanded(member, variables, (*path, index), kept) for index, member in enumerate(value)]
    return value


def _resolved(found: re.Match[str], variables: Mapping[str, str], path: Place, kept: Collection[str]) -> str:
    inside: str | None = found[1]
    if inside is None:
        return "${"
    if inside in kept:
        return found[0]
    if inside in ("/", "pathSeparator"):
        return os.sep
    if inside == "userHome":
        return str(Path.home())
    variable = _VARIABLE.fullmatch(inside)
    value = _looked_up(variable[1], variable[2], variables) if variable else None
    if value is None:
        raise UnresolvedReference(_problem(inside, variable), path)
    return value


def _looked_up(name: str, default: str | None, variables: Mapping[str, str]) -> str | None:
    value = variables.get(name)
    return value if default is None else value or default


def _problem(inside: str, variable: re.Match[str] | None) -> str:
    if inside.startswith("input:"):
        name = input_variable(inside.removeprefix("input:"))
        return f"${{{inside}}} is asked for by an editor; write ${{{name}}} and set that variable"
    if is_editors_own(inside):
        return f"${{{inside}}} is known to an editor only; write the path or value itself"
    if variable is not None:
        return f"the variable {variable[1]} is not set"
    return f"${{{inside}}} is not understood: write ${{NAME}} or ${{NAME:-default}}, or $${{ for a literal ${{"


def is_editors_own(name: str) -> bool:
    """Whether `${name}` is what only an editor or a desktop client can replace."""
    return _EDITORS_OWN.fullmatch(name) is not None


def input_variable(name: str) -> str:
    """The variable that stands for what an editor asks for: `perplexity-key` → `PERPLEXITY_KEY`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper() or "INPUT"
