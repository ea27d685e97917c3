"""What a command prints: with `--json` one JSON document on standard output, else tables and lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Final

import typer

_json_asked: ContextVar[bool] = ContextVar("json_asked", default=False)


def json_is_asked() -> bool:
    """Whether the command that runs was called with `--json`: its error is told as JSON, too."""
    return _json_asked.get()


def ask_for_json(asked: bool) -> bool:
    """Note whether the command that runs was called with `--json`."""
    _json_asked.set(asked)
    return asked


AsJson = Annotated[bool, typer.Option("--json", callback=ask_for_json, is_eager=True, help="Answer with JSON.")]


WITHOUT_JSON: Final[Mapping[str, str]] = {
    "serve": "it serves until it is told to end; what it says goes to the log, with LOG_FORMAT=json as JSON",
    "auth-server": "it serves until it is told to end; what it says goes to the log, with LOG_FORMAT=json as JSON",
    "connect": "its output is the protocol",
    "config schema": "its output is JSON already",
    "audit export": "its output has the form that --format says, JSON lines or CEF",
    "completion": "its output is a script for a shell",
}
"""Commands that have no `--json`, and why."""


def print_json(document: Any) -> None:
    """A document as one line of ASCII: nothing that a terminal would act on."""
    typer.echo(json.dumps(document))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows as aligned columns; `None` is left empty, and what a terminal would act on is escaped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from switchboard.common.visible_text import escaped  # its patterns take time to compile, and --version needs none

    table = Table(*titles, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if value is None else escaped(str(value))) for value in row))
    Console(soft_wrap=True).print(table)
