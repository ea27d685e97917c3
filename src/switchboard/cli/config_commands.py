"""`switchboard config check|show|schema|import`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from switchboard.cli.ending import ending_clearly, say
from switchboard.cli.settled import FileOption, overlaid, settled
from switchboard.config.editing import edit
from switchboard.config.files import layers, validated
from switchboard.config.formats import parsed
from switchboard.config.imports import imported
from switchboard.config.schema import schema as json_schema
from switchboard.config.shown import shown
from switchboard.errors import ConfigurationError

app = typer.Typer(help="The configuration file: check it, show it, take servers over from another one.")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The file to check; else the one in use.")] = None,
    config: FileOption = None,
) -> None:
    """Say whether the configuration is valid, and what is wrong with it. Starts nothing."""
    with ending_clearly():
        here = settled(file or config)
        found = here.configuration()
        on = sum(section.enabled for section in found.servers.values())
        plugins = sum(section.enabled for section in found.plugins.values())
        typer.echo(f"{here.file or 'built in'}: valid: {plugins} plugins, {on} servers, {len(found.presets)} presets")


@app.command()
def show(
    config: FileOption = None,
    fleet: Annotated[bool, typer.Option("--fleet", help="With the changes made for the whole fleet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of YAML.")] = False,
) -> None:
    """Show the values in force, from all layers. Secrets are hidden."""
    with ending_clearly():
        here = settled(config)
        above = asyncio.run(overlaid(here.settings)) if fleet else ()
        written = layers(here.file, here.variables, overlay=above)
        document = shown(validated(written, here.variables), written)
        _print(document, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors and programs."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command("import")
def import_servers(
    source: Annotated[Path, typer.Argument(help="A desktop client's file, or one with a list of servers.")],
    config: FileOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace servers of the same name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be added.")] = False,
) -> None:
    """Take servers over into the configuration file; a backup of it is kept."""
    with ending_clearly():
        try:
            found = imported(parsed(source))
        except ConfigurationError as error:
            raise ConfigurationError(str(error) if str(source) in str(error) else f"{source}: {error}") from error
        for line in found.left_out:
            say(f"left out: {line}")
        if dry_run:
            _print({"mcpServers": found.servers})
            return
        here = settled(config)
        backup = edit(
            here.editable(), lambda document: _merge(document, found.servers, replace=replace), here.variables
        )
        typer.echo(f"{here.file}: {len(found.servers)} servers taken over{f'; backup: {backup}' if backup else ''}")


def _merge(document: dict[str, Any], servers: dict[str, dict[str, Any]], *, replace: bool) -> None:
    having = document.setdefault("mcpServers", {})
    there = sorted(having.keys() & servers.keys())
    if there and not replace:
        raise ConfigurationError(
            f"there are servers of the same name: {', '.join(there)}; use --replace, or rename them"
        )
    having.update(servers)


def _print(document: Any, *, as_json: bool = False) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) if as_json else yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=100
    )  # fmt: skip
    typer.echo(text.rstrip())
