"""`switchboard presets list|show`."""

from __future__ import annotations

from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from switchboard.catalog import Wish, resolved
from switchboard.catalog.selection import Selection
from switchboard.cli.context import FileOption, configuration_context
from switchboard.cli.exit_codes import ending_clearly
from switchboard.config import Configuration, provider_name
from switchboard.errors import ConfigurationError

app = typer.Typer(help="Named selections of what is offered: `/mcp?preset=NAME`.")


@app.command("list")
def list_presets(config: FileOption = None) -> None:
    """List the presets."""
    with ending_clearly():
        here = configuration_context(config)
        table = Table("name", "url", "description", box=None, header_style="bold")
        for name, preset in here.configuration().presets.items():
            table.add_row(name, f"{here.settings.mcp_url}?preset={name}", preset.description)
        Console(soft_wrap=True).print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="The preset's name.")], config: FileOption = None) -> None:
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
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())


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
