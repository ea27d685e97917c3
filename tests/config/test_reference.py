from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from switchboard.config import read
from tools import reference


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.PAGE.read_text() == reference.page(), (
        "docs/configuration.md is not what it should be: make reference"
    )


def test_the_scenarios_of_the_lab_are_documented_as_the_code_has_them() -> None:
    assert reference.LAB.read_text() == reference.lab_page(), "docs/lab.md is not what it should be: make reference"


@pytest.mark.parametrize("model", [part[2] for part in reference.PARTS], ids=lambda one: one.__name__)
def test_every_key_says_what_it_is_for(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_what_the_migration_page_shows_is_valid(tmp_path: Path) -> None:
    shown = re.findall(r"```yaml\n(mcpServers.*?)```", (reference.PAGE.parent / "migrating.md").read_text(), re.S)
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert read(file, {"WEATHER_TOKEN": "t"}).servers
