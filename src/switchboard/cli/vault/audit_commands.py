"""`switchboard audit list|export|verify`: who used which credential and why, and whether the log is as was written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from switchboard import __version__
from switchboard.audit.exporting import Format, lines
from switchboard.audit.reading import PAGE, Entry, Log, Verification, newest, older, shown, verify, verify_lines
from switchboard.cli.context import fleet
from switchboard.cli.exit_codes import DONE, FAILED, ending_clearly
from switchboard.cli.output import AsJson, print_json
from switchboard.cli.progress import progress
from switchboard.common.visible_text import escaped
from switchboard.errors import SwitchboardError
from switchboard.settings import Settings, load_settings
from switchboard.state import State

app = typer.Typer(help="The audit log of the fleet: who did what to what, why, and how it ended.")

Calls = Annotated[bool, typer.Option("--calls", help="Calls of tools, reads and prompts, in place of changes.")]


@app.command("list")
def list_entries(
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="How many, the newest.")] = 50,
    calls: Calls = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, the newest last; as JSON, a line for each."""
    found: list[Entry] = _run(lambda state, _settings: newest(state, last, _log(calls=calls)))
    for id_, entry in found:
        fields = dict(shown(entry))
        print_json({"id": id_, **fields}) if as_json else typer.echo(_line(id_, fields))


@app.command("export")
def export_entries(
    form: Annotated[Format, typer.Option("--format", help="JSON lines, or CEF.")] = "jsonl",
    calls: Calls = False,
) -> None:
    """Write every entry as a line for another system, the newest first. JSON lines keep what authenticates an entry."""
    _run(lambda state, _settings: _export(state, form, _log(calls=calls)))


@app.command("verify")
def verify_entries(
    file: Annotated[
        Path | None, typer.Argument(help="Exported JSON lines, in place of the log; - for the input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """See whether any entry was changed, put in, or taken out between others. Ends with 1 if so.

    What was written with a SECRET_KEY that is in the list no more cannot be told from what was put in.
    """
    found = _of_file(file) if file is not None else _run(_verified)
    if as_json:
        print_json({"entries": found.entries, "faults": list(found.faults)})
    else:
        typer.echo("\n".join([*found.faults, f"{found.entries} entries, {len(found.faults)} faults"]))
    raise typer.Exit(FAILED if found.faults else DONE)


def _of_file(file: Path) -> Verification:
    with ending_clearly():
        settings = load_settings()
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SwitchboardError(f"{file} cannot be read ({type(error).__name__})") from None
        return verify_lines(text.split("\n"), settings.key_ring)
    raise AssertionError("a command ends clearly, or not at all")


async def _verified(state: State, settings: Settings) -> Verification:
    with progress("reading the audit log"):
        return await verify(state, settings.key_ring)


def _log(*, calls: bool) -> Log:
    return "calls" if calls else "changes"


async def _export(state: State, form: Format, log: Log) -> None:
    part = await older(state, count=PAGE, log=log)
    while part:
        typer.echo(lines(part, form, __version__), nl=False)
        part = await older(state, part[-1][0], PAGE, log) if len(part) == PAGE else []


def _line(id_: str, fields: dict[str, str]) -> str:
    at = datetime.fromtimestamp(int(id_.partition("-")[0]) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    first = [fields.pop(name, "") for name in ("event", "what", "outcome")]
    fields.pop("at", None)
    return escaped(" ".join([at, *first, *(f"{name}={value}" for name, value in fields.items())]))


def _run(work: Callable[[State, Settings], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        settings = load_settings()
        async with fleet(settings) as state:
            return await work(state, settings)

    with ending_clearly():
        return asyncio.run(run())
    raise AssertionError("a command ends clearly, or not at all")
