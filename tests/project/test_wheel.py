"""The wheel: it has all that the source has, and serves where there is nothing else."""

from __future__ import annotations

import asyncio
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from switchboard import __version__
from tools.release.artefacts import ROOT, as_uvx, built_wheel
from tools.release.trial import calls, serving

SOURCES = (ROOT / "src" / "switchboard", ROOT / "auth_server")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def test_every_file_of_the_source_is_in_the_wheel_pages_and_scripts_too_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        file.relative_to(folder.parent).as_posix()
        for folder in SOURCES
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert inside == source
    assert {Path(name).suffix for name in inside} >= {".py", ".html", ".css", ".js", ".typed"}


def test_the_wheel_brings_the_command_the_demo_and_the_license_in_the_version_of_the_source(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        names = {name.partition("/")[2] for name in archive.namelist() if name.startswith(folder)}
        points = ConfigParser()
        points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert folder == f"mcp_switchboard-{__version__}.dist-info"
    assert "licenses/LICENSE" in names
    assert dict(points["console_scripts"]) == dict.fromkeys(["switchboard", "mcp-switchboard"], "switchboard.cli:main")
    assert points["switchboard.plugins"]["everything"] == "switchboard.everything:plugin"


@pytest.mark.registry
def test_the_wheel_started_as_uvx_does_serves_in_an_empty_folder_with_an_empty_environment(
    wheel: Path, tmp_path: Path
) -> None:
    with serving(as_uvx(wheel), tmp_path / "empty") as base:
        asyncio.run(calls(base))
