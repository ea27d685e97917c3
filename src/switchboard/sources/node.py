"""Node packages: installed by npm, and which program of them is the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from switchboard.sources.launch import SourceFailure

QUIET = ("--no-audit", "--no-fund", "--no-update-notifier")


def manifest(folder: Path) -> Mapping[str, Any]:
    """A folder's `package.json`.

    Raises:
        SourceFailure: it cannot be read.
    """
    file = folder / "package.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceFailure(f"{file}: {error}") from error
    if not isinstance(found, dict):
        raise SourceFailure(f"{file}: is not an object")
    return found


def programs(found: Mapping[str, Any]) -> dict[str, str]:
    """Name → file, relative to the package. https://docs.npmjs.com/cli/configuring-npm/package-json#bin"""
    own = str(found.get("name", "")).rpartition("/")[2]
    given = found.get("bin")
    if isinstance(given, str):
        return {own: given}
    return {str(name): str(file) for name, file in given.items()} if isinstance(given, dict) else {}


def program(found: Mapping[str, Any], wished: str | None) -> tuple[str, str] | None:
    """The name and file of the program to start: the wished one, the one called like the package, the only one.

    Raises:
        SourceFailure: there are several and none was wished, or the wished one is not there.
    """
    having = programs(found)
    own = wished or str(found.get("name", "")).rpartition("/")[2]
    if own in having:
        return own, having[own]
    if wished:
        raise SourceFailure(f"{found.get('name')} has no program {wished!r}; it has: {', '.join(having) or 'none'}")
    if len(having) > 1:
        raise SourceFailure(f"{found.get('name')} has several programs: name one as `bin`: {', '.join(having)}")
    return next(iter(having.items()), None)
