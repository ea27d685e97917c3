from __future__ import annotations

import json
from pathlib import Path

import pytest
from dotenv import dotenv_values

from auth_server.environment import Environment
from switchboard.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
MADE_AT_START = {"secret_key"}
KNOWN = {name.upper() for name in (*Settings.model_fields, *Environment.model_fields)}
"""What either of the two programs reads."""


def test_the_example_lists_every_setting_and_nothing_else() -> None:
    assert set(dotenv_values(ROOT / ".env.example")) == KNOWN


def test_the_example_sets_every_setting_to_its_default() -> None:
    copied, default = load_settings(ROOT / ".env.example"), load_settings(None)
    assert copied.model_dump(exclude=MADE_AT_START) == default.model_dump(exclude=MADE_AT_START)


def test_the_example_writes_out_every_default_that_can_be_written() -> None:
    written = dotenv_values(ROOT / ".env.example")
    for name, field in (Environment.model_fields | Settings.model_fields).items():
        plain = not field.default_factory and field.default not in (None, (), "")
        shown = field.default if isinstance(field.default, str) else json.dumps(field.default) if plain else ""
        assert written[name.upper()] == (shown if plain else ""), name


@pytest.mark.parametrize(("name", "mode"), [(".env.integrated", "integrated"), (".env.separate", "separate")])
def test_a_file_that_is_ready_to_copy_is_accepted_and_sets_only_what_exists(name: str, mode: str) -> None:
    assert set(dotenv_values(ROOT / name)) <= KNOWN
    assert load_settings(ROOT / name).auth_mode == mode
