"""Every command in the documents is run by a test, here or elsewhere, or stands on the list of those that are not."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from switchboard.cli.commands import COMMANDS, _command
from switchboard.settings import Settings
from tools.fleet.children import Child, answers, free_port, start

ROOT = Path(__file__).parents[2]
DOCUMENTS: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PATIENCE = 300

ELSEWHERE: Final[Mapping[str, Mapping[str, str]]] = {
    "docs/deployment.md": {".*": "project/test_deployment.py"},
    "docs/gateway.md": {".*": "project/test_first_server.py"},
    "docs/lab.md": {"switchboard lab run": "lab/test_runner.py"},
    "docs/telemetry.md": {"OTEL_TRACES_EXPORTER=": "telemetry/test_traces.py"},
}
"""By document, what its commands match, and the test that runs them."""

HERE: Final[Mapping[str, Sequence[str]]] = {
    "docs/api.md": [r"TOKEN=", r"curl "],
    "docs/connect.md": [r"switchboard install"],
    "docs/connections.md": [r"curl .*/credentials"],
    "docs/plugins.md": [r"\S*switchboard plugins"],
    "docs/telemetry.md": [r"curl "],
    "docs/vault.md": [r"python3 -c"],
    "SECURITY.md": [
        r"python -m auth_server revoke --(user|all)",
        r"python -m auth_server signing-keys",
        r"switchboard vault",
    ],
}
"""By document, what this file runs beside a server, in the order in which it stands there."""

NOT_RUN: Final[Mapping[str, str]] = {
    r"make serve": "the server of this file is started in the same way, at another port; CI serves nothing on 3232",
    r"make test": "is what runs this",
    r"pip install 'mcp-switchboard": "takes packages from PyPI; the extra dev has the same ones",
    r"make (bench|chaos|mutants)": "takes many minutes; tests/chaos and scratch/bench run shorter ones",
    r"REDIS_WAIT_REPLICAS=1 make chaos": "takes many minutes; tests/chaos runs shorter ones",
    r"npx ": "brings a package from npm; tests/journeys drives the same version of Inspector, installed before",
    r"curl .*/api/auth/oauth/": "needs another service to sign in at; tests/authorized/test_user_oauth.py asks both",
    r"python -m auth_server revoke --(token|client)": "needs a token or client; tests/auth/rfc7009_revocation",
    r"LAB=on make serve": "the server of this file has LAB=on",
}
"""What no test runs, and why."""


@dataclass(frozen=True)
class Command:
    """A command of a document."""

    document: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text[:60]}"


def commands(path: Path) -> Iterator[Command]:
    """The commands of its blocks; a comment at the end of a line is not part of one."""
    name = path.relative_to(ROOT).as_posix()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
        if language not in {"sh", "bash", "console"}:
            continue
        for line in re.sub(r"\\\n", "", block).splitlines():
            text = re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip()
            if text and not text.startswith("#"):
                yield Command(name, re.sub(r"\s+", " ", text))


ALL: Final = [command for path in DOCUMENTS for command in commands(path)]


def runs_here(command: Command) -> bool:
    return any(re.match(pattern, command.text) for pattern in HERE.get(command.document, ()))


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_is_run_by_a_test_or_listed_with_the_reason_why_not(command: Command) -> None:
    elsewhere = [
        test for pattern, test in ELSEWHERE.get(command.document, {}).items() if re.match(pattern, command.text)
    ]
    listed = [reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command.text)]
    assert runs_here(command) or elsewhere or listed, "run it in HERE, or say in NOT_RUN why not"
    assert [test for test in elsewhere if test.endswith(".py") and not (ROOT / "tests" / test).exists()] == []


def test_no_row_of_the_lists_is_left_over() -> None:
    def used(document: str | None, pattern: str) -> bool:
        return any(re.match(pattern, each.text) for each in ALL if document in (None, each.document))

    rows = [(document, pattern) for document, patterns in {**ELSEWHERE, **HERE}.items() for pattern in patterns]
    rows += [(document, pattern) for document, patterns in HERE.items() for pattern in patterns]
    assert [row for row in rows if not used(*row)] == []
    assert [pattern for pattern in NOT_RUN if not used(None, pattern)] == []


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, fleet_redis: str
) -> Iterator[tuple[Child, Mapping[str, str], Path]]:
    """A folder of a newcomer, with what the documents write into it, and the server that they serve there."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name, code in re.findall(
        r"```python\n# (\S+)\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    (folder / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    port = free_port()
    ours = {name.upper() for name in Settings.model_fields}
    env = {name: value for name, value in os.environ.items() if name not in ours} | {
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PORT": str(port),
        "BASE_URI": f"http://localhost:{port}",
        "REDIS_URL": fleet_redis,
        "SECRET_KEY": "documented-commands-documented-commands",
        "VAULT_KEYS": "documented-vault-key-documented-vault-key",
        "PLUGINS_DIR": "plugins",
        "LAB": "on",
        "COLUMNS": "200",
    }
    child = start("serve", [".venv/bin/switchboard", "serve"], folder, env)
    child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    yield child, env, folder
    child.stop()


def script(document: str, env: Mapping[str, str]) -> str:
    """What stands in a document to be run, at this server's address, and failing where an answer is an error."""
    text = "\n".join(each.text for each in ALL if each.document == document and runs_here(each))
    text = re.sub(r"http://localhost:3232", env["BASE_URI"], text)
    text = re.sub(r"\bcurl ", "curl --fail-with-body --silent --show-error ", text)
    return text.replace("…", "abcdef42").replace("NAME KEY=VALUE", "weather days=2").replace(" NAME", " weather")


@pytest.mark.parametrize("document", HERE)
def test_what_a_document_says_to_run_does_what_it_says(
    document: str, place: tuple[Child, Mapping[str, str], Path]
) -> None:
    _, env, folder = place
    token = 'TOKEN=$(switchboard token --user admin --scope "mcp admin")\n' if "$TOKEN" in script(document, env) else ""
    done = subprocess.run(
        ["bash", "-euc", token + script(document, env)],
        cwd=folder, env=env, input="y\n", capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script(document, env)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


INLINE: Final = [
    (path.name, code)
    for path in DOCUMENTS
    if path.name != "CHANGELOG.md"
    for code in re.findall(
        r"`((?:\.venv/bin/)?(?:switchboard|make|python -m|\.venv/bin/python -m) [^`]+)`", path.read_text()
    )
]


@pytest.mark.parametrize(("document", "code"), INLINE)
def test_a_command_that_a_sentence_names_exists_with_its_options(document: str, code: str) -> None:
    program, *words = code.removeprefix(".venv/bin/").split()
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
    elif program == "python":
        assert importlib.util.find_spec(words[1]) is not None
    else:
        assert unknown(words) == []


def unknown(words: Sequence[str]) -> list[str]:
    """The words of a `switchboard …` that are neither commands nor options of it."""
    if words[0] == "--version":
        return []
    place = COMMANDS.get(words[0].strip(",…"))
    if place is None:
        return [words[0]]
    here: Any = _command(words[0], getattr(importlib.import_module(place.module), place.name))
    rest = list(words[1:])
    while isinstance(here, typer.core.TyperGroup) and rest and rest[0] in here.commands:
        here = here.commands[rest.pop(0)]
    if isinstance(here, typer.core.TyperGroup):
        return [word for word in rest if not word.isupper() and not word.startswith(("-", "…")) and "|" not in word]
    if "--" in rest:
        rest = rest[: rest.index("--")]
    known = {option for parameter in here.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in (each.rstrip(",") for each in rest) if word.startswith("--") and word not in known]
