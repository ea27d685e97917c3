from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from switchboard.config import read
from switchboard.config.formats import parsed
from switchboard.config.schema import schema

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def test_the_examples_are_there() -> None:
    assert NAMES == ["development.yaml", "enterprise.yaml", "mixed-auth.yaml", "simple.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_without_a_variable_set_and_by_the_published_schema(name: str) -> None:
    found = read(EXAMPLES / name, {})
    assert found.servers
    published = json.loads((EXAMPLES / "switchboard.schema.json").read_text())
    jsonschema.Draft202012Validator(published).validate(parsed(EXAMPLES / name))


def test_the_published_schema_is_the_one_in_force() -> None:
    published = (EXAMPLES / "switchboard.schema.json").read_text()
    assert published == json.dumps(schema(), indent=2) + "\n", "write it anew: switchboard config schema"
