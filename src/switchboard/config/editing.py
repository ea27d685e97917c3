"""Changing a configuration file from the command line: checked first, backed up, then replaced in one step.

JSON and YAML are written anew from the document: the values stay, comments do not. TOML is not written, and so not
edited. A backup stands beside the file, the newest ten are kept.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from switchboard.config.files import validated
from switchboard.config.formats import parsed
from switchboard.config.layers import Layer
from switchboard.errors import ConfigurationError

KEPT = 10
"""Backups of one file."""

Change = Callable[[dict[str, Any]], None]
"""Changes a document in place."""


def edit(path: Path, change: Change, variables: Mapping[str, str]) -> Path | None:
    """Change the file; the backup, if there was something to back up.

    Raises:
        ConfigurationError: the file cannot be read or written, or would not be valid afterwards. It is unchanged then.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigurationError(f"{path}: only {', '.join(_WRITERS)} files can be edited from here; edit it by hand")
    document = parsed(path) if path.exists() else {}
    before = validated([Layer(str(path), document)], variables, path.parent).broken
    document = copy.deepcopy(document)
    change(document)
    after = validated([Layer(str(path), document)], variables, path.parent).broken
    if wrong := [row.reason for name, row in after.items() if name not in before and not row.unset]:
        raise ConfigurationError("\n".join(wrong))
    return replace_file(path, write(document))


def replace_file(path: Path, text: str) -> Path | None:
    """Give a file another content; the backup of what it had, if there was something to back up.

    Raises:
        ConfigurationError: it cannot be written. It is unchanged then.
    """
    try:
        backup = _backed_up(path) if path.exists() else None
        _replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error}") from error
    return backup


def backups(path: Path) -> list[Path]:
    """The file's backups, the newest first."""
    return sorted(path.parent.glob(f"{path.name}.*.bak"), reverse=True)


def _backed_up(path: Path) -> Path:
    backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.bak")
    descriptor = os.open(backup, os.O_CREAT | os.O_EXCL | os.O_WRONLY, path.stat().st_mode & 0o777)
    with os.fdopen(descriptor, "wb") as copy:
        copy.write(path.read_bytes())
    for old in backups(path)[KEPT:]:
        old.unlink()
    return backup


def _replace(path: Path, text: str) -> None:
    """Write beside it and rename: whoever watches the file never sees half of it. A link's target is replaced."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as new:
        new.write(text)
    os.chmod(new.name, mode)
    os.replace(new.name, target)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


_WRITERS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    ".json": _json,
    ".jsonc": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}
