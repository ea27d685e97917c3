"""What a release says of itself: one version everywhere, a changelog in its form, and the registry's server.json."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from switchboard import __version__
from switchboard.settings import Settings
from tools.release.changelog import faults

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text())
GOOD = """# Changelog

## [Unreleased]

### Added

- A thing
  of two lines.

## [0.2.0] - 2026-11-27

### Changed

- Another.

### Fixed

- A third.

## [0.1.0] - 2026-10-01

### Added

- The first.
"""


def test_the_changelog_has_its_form_and_its_newest_version_is_that_of_the_package() -> None:
    assert faults((ROOT / "CHANGELOG.md").read_text(), __version__) == []
    assert faults(GOOD, "0.2.0") == []
    assert faults(GOOD.replace("- A thing", "What is new:\n\n- A thing"), "0.2.0") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2026-11-27", "2026-11-31", "2026-11-31 is no day"),
        ("2026-11-27", "yesterday", "neither"),
        ("[0.2.0]", "[0.0.9]", "does not come first"),
        ("[0.2.0]", "[0.3.0]", "not the package's"),
        ("### Changed", "### New", "New is none of"),
        ("### Changed", "### Fixed", "Fixed stands twice"),
        ("- Another.", "Another.", "neither an item"),
        ("- Another.\n", "- Another.\nThen:\n\n- More.\n", "neither an item"),
        ("### Added\n\n- A thing", "- A thing", "belongs to none"),
        ("## [Unreleased]\n", "", "the first heading"),
    ],
)
def test_a_changelog_out_of_its_form_is_told_by_line(old: str, new: str, said: str) -> None:
    text = GOOD.replace(old, new)
    assert text != GOOD
    assert any(said in fault for fault in faults(text, "0.2.0"))


def test_the_version_stands_in_the_source_alone_and_is_repeated_where_a_file_must_say_it() -> None:
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert {SERVER["version"], *(each["version"] for each in SERVER["packages"])} == {__version__}


def test_the_registry_is_told_a_package_that_its_command_starts_by_its_own_name() -> None:
    (package,) = SERVER["packages"]
    assert (package["registryType"], package["runtimeHint"]) == ("pypi", "uvx")
    assert package["identifier"] == PROJECT["name"]
    assert PROJECT["scripts"][package["identifier"]] == PROJECT["scripts"]["switchboard"]
    assert [each["value"] for each in package["packageArguments"]] == ["serve"]
    assert package["transport"] == {"type": "streamable-http", "url": "http://localhost:{PORT}/mcp"}


def test_the_registry_is_told_settings_that_there_are_with_their_defaults_and_which_are_secret() -> None:
    fields = Settings.model_fields
    for variable in SERVER["packages"][0]["environmentVariables"]:
        field = fields[variable["name"].lower()]
        if "default" in variable:
            assert variable["default"] == str(field.default)
        assert variable.get("isSecret", False) is (variable["name"] == "SECRET_KEY")


def test_the_registry_finds_its_name_in_the_readme_and_its_bounds_are_kept() -> None:
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert f"mcp-name: {SERVER['name']} " in (ROOT / "README.md").read_text()
    assert len(SERVER["description"]) <= 100
    assert len(SERVER["title"]) <= 100
