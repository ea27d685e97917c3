"""Plugins written into a folder, or installed as pip would install them."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[[str, str], None]
Write = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(name, code)` puts a distribution with one plugin on the path, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installing(name: str, code: str) -> None:
        module = f"plugin_{name}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[switchboard.plugins]\n{name} = {module}:make\n")
        importlib.invalidate_caches()

    return installing


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(file, code)` writes a file of the plugins folder, which is `tmp_path / "plugins"`."""
    folder = tmp_path / "plugins"

    def writing(file: str, code: str) -> Path:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
        return path

    return writing
