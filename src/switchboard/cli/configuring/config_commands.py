"""`switchboard config check|show|schema|import`, and `switchboard presets list|show`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from switchboard.catalog import Wish, resolved
from switchboard.catalog.selection import Selection
from switchboard.cli.context import FileOption, configuration_context, overlaid
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.config import Configuration, provider_name
from switchboard.config.editing import edit
from switchboard.config.files import folder, validated
from switchboard.config.formats import parsed
from switchboard.config.importing.files import imported
from switchboard.config.redaction import shown
from switchboard.config.schema import schema as json_schema
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.plugins import PluginSources

app = typer.Typer(help="The configuration file: check it, show it, take servers over from another one.")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The file to check; else the one in use.")] = None,
    config: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Say whether the configuration is valid, and what is wrong with it. Starts nothing.

    Ends with 2 if it is not, and with 1 if it is but this machine lacks what a server needs.
    """
    with ending_clearly():
        here = configuration_context(file or config)
        found = here.configuration()
        if found.broken:
            raise ConfigurationError("\n".join(row.reason for row in found.broken.values()))
        PluginSources(here.settings.plugins_dir).find(name for name, row in found.plugins.items() if row.enabled)
        on = sum(section.enabled for section in found.servers.values())
        plugins = sum(section.enabled for section in found.plugins.values())
        lacking = here.lacking(found)
        where = str(here.file or "built in")
        if as_json:
            counts = {"plugins": plugins, "servers": on, "presets": len(found.presets)}
            print_json({"file": where, **counts, "lacking": lacking})
        else:
            typer.echo(f"{where}: valid: {plugins} plugins, {on} servers, {len(found.presets)} presets")
        if lacking:
            raise SwitchboardError("\n".join(["valid, but not all there is on this machine:", *lacking]))


@app.command()
def show(
    config: FileOption = None,
    fleet: Annotated[bool, typer.Option("--fleet", help="With the changes made for the whole fleet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the values in force, from all layers. Secrets are hidden."""
    with ending_clearly():
        here = configuration_context(config)
        above = asyncio.run(overlaid(here.settings)) if fleet else ()
        written = here.written(above)
        document = shown(validated(written, here.variables, folder(here.file)), written)
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
    as_json: AsJson = False,
) -> None:
    """Take servers over into the configuration file; a backup of it is kept."""
    with ending_clearly():
        try:
            found = imported(parsed(source), source)
        except ConfigurationError as error:
            raise ConfigurationError(str(error) if str(source) in str(error) else f"{source}: {error}") from error
        for line in found.left_out:
            say(f"left out: {line}")
        for line in found.hints:
            say(f"look at: {line}")
        if dry_run:
            _print({"mcpServers": found.servers}, as_json=as_json)
            return
        here = configuration_context(config)
        path = here.editable()
        having = parsed(path).get("mcpServers", {}) if path.exists() else {}
        clashing = [] if replace else [name for name in found.servers if name in having]
        for name in clashing:
            say(f"left out: {name}: there is a server of that name; use --replace, or rename it")
        new = {name: row for name, row in found.servers.items() if name not in clashing}
        if not new:
            raise ConfigurationError(f"{source}: nothing was taken over")
        backup = edit(path, lambda document: document.setdefault("mcpServers", {}).update(new), here.variables)
        if as_json:
            left_out = [*found.left_out, *clashing]
            print_json({"file": str(path), "added": list(new), "left_out": left_out, "backup": backup and str(backup)})
        else:
            typer.echo(f"{here.file}: {len(new)} servers taken over{f'; backup: {backup}' if backup else ''}")


def _print(document: Any, *, as_json: bool = False) -> None:
    if as_json:
        print_json(document)
    else:
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100).rstrip())


presets = typer.Typer(help="Named selections of what is offered: `/mcp?preset=NAME`.")


@presets.command("list")
def list_presets(config: FileOption = None, as_json: AsJson = False) -> None:
    """List the presets."""
    with ending_clearly():
        here = configuration_context(config)
        rows = [
            {"name": name, "url": f"{here.settings.mcp_url}?preset={name}", "description": preset.description}
            for name, preset in here.configuration().presets.items()
        ]
        print_json(rows) if as_json else print_table(("name", "url", "description"), [[*row.values()] for row in rows])


@presets.command("show")
def show_preset(
    name: Annotated[str, typer.Argument(help="The preset's name.")],
    config: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a preset, and which plugins and servers can contribute to it."""
    with ending_clearly():
        here = configuration_context(config)
        found = here.configuration()
        preset = found.presets.get(name)
        if preset is None:
            raise ConfigurationError(f"there is no preset {name!r}; there are: {', '.join(found.presets) or 'none'}")
        document = {
            "url": f"{here.settings.mcp_url}?preset={name}",
            **preset.model_dump(mode="json", exclude_defaults=True),
            "contributing": contributing(found, resolved(Wish(preset=name), found.presets, found.tool_search)),
        }
        _print(document, as_json=as_json)


def contributing(configuration: Configuration, selection: Selection) -> list[str]:
    """The enabled plugins and servers of which something may be selected."""
    sections = {**configuration.plugins, **{provider_name(key): row for key, row in configuration.servers.items()}}
    return [
        name
        for name, section in sections.items()
        if section.enabled
        and (selection.providers is None or name in selection.providers)
        and any(
            all(tags.admit(frozenset(labels)) for tags in selection.tags)
            for labels in ({*section.tags}, *({*section.tags, *rule.tags} for rule in section.tools.values()))
        )
    ]
