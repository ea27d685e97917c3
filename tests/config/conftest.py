"""Files that a configuration is read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import read
from switchboard.errors import ConfigurationError

WriteFile = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """`write(name, text)` gives the path of a configuration file."""

    def writing(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return writing


Said = Callable[..., str]


@pytest.fixture
def said() -> Said:
    """`said(path, {…})`: what is said of a file that is wrong, as a whole or in rows of servers."""

    def saying(path: Path, variables: Mapping[str, str] | None = None, **more: Any) -> str:
        try:
            found = read(path, variables or {}, **more)
        except ConfigurationError as error:
            return str(error)
        return "\n".join(fault.reason for fault in found.broken.values())

    return saying
