"""`python -m tools.house` finds what breaks each of its rules: told here by small repositories that break one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.house import House

PROJECT = """
[project]
dependencies = ["redis>=8", "types-pyyaml"]
[[tool.importlinter.contracts]]
id = "rooms"
layers = ["switchboard.http", "(switchboard.state)", "switchboard.errors | (switchboard.log)"]
"""
RULES = """
[words]
names = ["Road"]
modules = { "switchboard.http" = ["faults"] }
"""
LONG_ENOUGH = "\n" * 50
Build = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def faults(tmp_path: Path) -> Build:
    """`faults(files, docstring=…)`: a room `http` and others; (rule, what) of each fault but the dependencies'."""

    def build(files: dict[str, str], docstring: str = "May import: state, leaves.") -> list[tuple[str, str]]:
        whole = {
            "pyproject.toml": PROJECT,
            "tools/house.toml": RULES,
            "src/switchboard/errors.py": LONG_ENOUGH,
            "src/switchboard/log.py": LONG_ENOUGH,
            "src/switchboard/tasks/__init__.py": '"""May import: leaves."""',
            "src/switchboard/state/__init__.py": '"""May import: leaves."""',
            "src/switchboard/http/__init__.py": f'"""HTTP in.\n\n{docstring}\n"""',
            **files,
        }
        for name, text in whole.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return [(rule, what) for rule, what, _ in House.at(tmp_path).faults() if rule != "dependencies"]

    return build


def http(code: str) -> dict[str, str]:
    return {"src/switchboard/http/stack.py": code + LONG_ENOUGH}


@pytest.mark.parametrize(
    "code",
    [
        "import redis",
        "from switchboard.http import other",
        "from switchboard.state import keys",
        "import switchboard.log",
    ],
)
def test_a_room_that_imports_what_it_says_is_in_order(faults: Build, code: str) -> None:
    assert faults(http(code)) == []


@pytest.mark.parametrize(
    "code", ["from switchboard.tasks import running", "from switchboard import tasks", "import auth_server.app"]
)
def test_an_import_of_ours_that_a_docstring_does_not_list_is_found(faults: Build, code: str) -> None:
    assert faults(http(code)) == [("docstrings", "switchboard.http")]


@pytest.mark.parametrize(
    "code", ["import redis", "from redis.asyncio import Redis", "def f():\n    from switchboard.state import x"]
)
def test_an_import_that_a_docstring_says_is_never_done_is_found_wherever_it_stands(faults: Build, code: str) -> None:
    docstring = "May import: state,\nleaves. Never imports: redis, switchboard.state."
    assert ("docstrings", "switchboard.http") in faults(http(code), docstring)


def test_a_statement_about_what_does_not_exist_is_found(faults: Build) -> None:
    assert faults({}, "May import: stat.") == [("docstrings", "switchboard.http")]


def test_a_room_that_says_nothing_of_its_imports_is_found(faults: Build) -> None:
    assert faults({}, "Owns much.") == [("rooms", "switchboard.http")]


def test_a_folder_of_nineteen_modules_and_files_that_are_too_short_or_too_long_are_found(faults: Build) -> None:
    many = {f"auth_server/part_{number}.py": LONG_ENOUGH for number in range(19)}
    files = {"tools/short.py": "\n" * 39, "tools/long.py": "\n" * 401, "tools/__main__.py": "", **many}
    assert faults(files) == [("folders", "auth_server"), ("long", "tools/long.py"), ("short", "tools/short.py")]


@pytest.mark.parametrize("code", ["class Road: ...", "def Road(): ...", "Road: int = 3", "Road, other = 1, 2"])
def test_a_name_that_the_glossary_replaced_is_found(faults: Build, code: str) -> None:
    assert faults(http(code)) == [("names", "src/switchboard/http/stack.py:Road")]


def test_a_module_that_the_glossary_renamed_is_found_in_any_folder_of_its_room(faults: Build) -> None:
    path = "src/switchboard/http/middleware/faults.py"
    assert faults({path: LONG_ENOUGH}) == [("names", path)]


def test_what_is_declared_and_never_imported_is_found(faults: Build, tmp_path: Path) -> None:
    faults(http("import redis"))
    found = [what for rule, what, _ in House.at(tmp_path).faults() if rule == "dependencies"]
    assert found == ["types-pyyaml"]
