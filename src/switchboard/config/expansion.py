"""References to variables in the values of the configuration file.

`${VAR}`, `${VAR:-default}` (a default may have references too), and what editors write: `${env:VAR}`, `${userHome}`,
`${pathSeparator}`, `${/}`. `$${` is a literal `${`. Whatever else stands in `${…}`, or has no end, is refused, so that
no program is started with a reference in place of a value: editors ask a person for `${input:…}` and know a folder for
`${workspaceFolder}`, and a server has neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

_EDGE: Final = re.compile(r"\$\{|\}")
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
        return "".join(_expanded(value, variables, path, kept))
    if isinstance(value, Mapping):
        return {key: expanded(member, variables, (*path, key), kept) for key, member in value.items()}
    if isinstance(value, list):
        return [expanded(member, variables, (*path, index), kept) for index, member in enumerate(value)]
    return value


def _expanded(text: str, variables: Mapping[str, str], path: Place, kept: Collection[str]) -> Iterator[str]:
    """The parts of a text, each reference replaced."""
    at = 0
    while (start := text.find("${", at)) >= 0:
        if text.startswith("$", start - 1) and start > at:
            yield text[at : start - 1] + "${"
            at = start + 2
            continue
        yield text[at:start]
        at = _end(text, start, path)
        yield _resolved(text[start:at], variables, path, kept)
    yield text[at:]


def _end(text: str, start: int, path: Place) -> int:
    """Where the reference ends that begins there: as in a shell, one in its default is a part of it."""
    open_ = 0
    for edge in _EDGE.finditer(text, start):
        open_ += 1 if edge[0] == "${" else -1
        if not open_:
            return edge.end()
    raise UnresolvedReference("a ${ has no closing }: write ${NAME}, or $${ for a literal ${", path)


def _resolved(written: str, variables: Mapping[str, str], path: Place, kept: Collection[str]) -> str:
    inside = written[2:-1]
    if inside in kept:
        return written
    if inside in ("/", "pathSeparator"):
        return os.sep
    if inside == "userHome":
        return str(Path.home())
    variable = _VARIABLE.fullmatch(inside)
    if variable and (value := _looked_up(variable[1], variable[2], variables)) is not None:
        return value
    if variable and variable[2] is not None:
        return "".join(_expanded(variable[2], variables, path, kept))
    raise UnresolvedReference(_problem(inside, variable), path)


def _looked_up(name: str, default: str | None, variables: Mapping[str, str]) -> str | None:
    """The variable's value. Where there is a default, an empty one counts as unset."""
    value = variables.get(name)
    return value if default is None else value or None


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
