"""`switchboard plugins list|enable|disable|configure|config|remove|reload|new`.

A change is made for the whole fleet: with Redis in the fleet's overlay, which every worker follows at once, and which
outlives them; without, in the configuration file. What asks running workers goes the way of `switchboard servers`;
`config` and `remove` go through the API.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from switchboard.cli.client.api import api, path_of
from switchboard.cli.client.server import Header, Insecure, Token, Url
from switchboard.cli.configuring.plugin_skeleton import write_skeleton
from switchboard.cli.context import ConfigurationContext, FileOption, configuration_context, fleet
from switchboard.cli.exit_codes import FAILED, ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.config.editing import edit
from switchboard.config.layers import patched
from switchboard.config.overlay import Overlay
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.plugins import PluginLoader, PluginSources
from switchboard.plugins.isolation.parent import PluginProcess
from switchboard.plugins.loading import configured
from switchboard.settings import Settings
from switchboard.worker_control import ask
from switchboard.worker_socket import ask_here, nobody

app = typer.Typer(help="Plugins: what there is, how they are doing, and changes for the whole fleet.")

Name = Annotated[str, typer.Argument(help="The plugin's name.")]


@app.command("list")
def list_plugins(config: FileOption = None, as_json: AsJson = False) -> None:
    """List the plugins that are installed or in the plugins folder, and how they are doing on the workers that answer.

    Ends with 1 if one has failed.
    """
    with ending_clearly():
        here = configuration_context(config)
        code = PluginSources(here.settings.plugins_dir).code()
        answers = asyncio.run(_asked(here.settings))
        sections = here.configuration().plugins
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "where": code[name].where if name in code else "",
                "enabled": name in sections and sections[name].enabled,
                "workers": [
                    {"worker": answer["worker"], **row}
                    for answer in answers
                    for row in answer["plugins"]
                    if row["name"] == name
                ],
            }
            for name in sorted({*code, *sections})
        ]
        if as_json:
            print_json(rows)
        else:
            _print(rows)
            if not answers:
                say(_nobody(here.settings))
        if any(each["phase"] == "failed" for row in rows for each in row["workers"]):
            raise typer.Exit(FAILED)


@app.command()
def enable(name: Name, config: FileOption = None, as_json: AsJson = False) -> None:
    """Start a plugin on every worker."""
    _change(name, {"enabled": True}, config, as_json=as_json)


@app.command()
def disable(name: Name, config: FileOption = None, as_json: AsJson = False) -> None:
    """Stop a plugin on every worker; its configuration and its credentials stay."""
    _change(name, {"enabled": False}, config, as_json=as_json)


@app.command()
def configure(
    name: Name,
    values: Annotated[list[str], typer.Argument(help="KEY=VALUE, several times; a value may be JSON, empty removes.")],
    config: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Change a plugin's configuration on every worker. What does not fit is refused, with the field and the reason."""
    with ending_clearly():
        patch = {"config": dict(map(_pair, values))}
    _change(name, patch, config, as_json=as_json)


@app.command()
def config(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--from", help="The new configuration as a whole, YAML or JSON; - for the input.")
    ] = None,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Show a plugin's configuration without its secrets, or replace it as a whole, through the API."""
    with ending_clearly():
        new = None if file is None else _document(file)
        fleet_api, path = api(url, token, header, insecure=insecure), path_of("plugins", name)
        found = fleet_api.answer("GET", path)
        if new is not None:
            found = fleet_api.answer("PUT", f"{path}/config", new, if_match=found.etag)
        shown = found.document["row"].get("config", {})
        if as_json:
            print_json(shown)
        elif new is None:
            typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100).rstrip())
        else:
            say(f"{name} has a new configuration on every worker")


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Remove a plugin's row from the configuration of the fleet, through the API; its code stays where it is.

    What is built in or in the plugins folder is then as it is without a row.
    """
    with ending_clearly():
        fleet_api, path = api(url, token, header, insecure=insecure), path_of("plugins", name)
        seen = fleet_api.answer("GET", path)
        if not yes:
            typer.confirm(f"Remove the row of {name}, and its configuration with it?", abort=True, err=True)
        fleet_api.answer("DELETE", path, if_match=seen.etag)
        print_json({"removed": name}) if as_json else say(f"the row of {name} is removed")


@app.command()
def reload(name: Name, as_json: AsJson = False) -> None:
    """Have every worker read a plugin's code again, and go on with that. No session ends."""
    with ending_clearly():
        settings = configuration_context(None).settings
        answers = asyncio.run(_asked(settings, reload=name))
        if not answers:
            raise SwitchboardError(_nobody(settings))
        rows = [row for answer in answers if answer["restarted"] for row in answer["plugins"] if row["name"] == name]
        if as_json:
            print_json(rows)
        if not rows:
            raise SwitchboardError(f"no running worker has an enabled plugin {name!r}")
        failed = [row["reason"] for row in rows if row["reason"]] + [each["refused"] for each in answers]
        if any(failed):
            raise SwitchboardError(next(filter(None, failed)))
        if not as_json:
            typer.echo(f"{name}: reloaded on {len(rows)} of {len(answers)} worker{'' if len(answers) == 1 else 's'}")


@app.command()
def new(
    name: Name,
    at: Annotated[Path | None, typer.Option("--in", help="The plugins folder [PLUGINS_DIR, else ./plugins].")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a plugin that works, with a test that passes, to go on from."""
    with ending_clearly():
        parent = at or configuration_context(None).settings.plugins_dir or Path("plugins")
        written = write_skeleton(name, parent)
        if as_json:
            print_json({"plugin": name, "files": list(map(str, written)), "plugins_dir": str(parent)})
            return
        for path in written:
            typer.echo(str(path))
        typer.echo(f"serve it: switchboard serve --plugins {parent}")


def _change(name: str, patch: Mapping[str, Any], config: Path | None, *, as_json: bool) -> None:
    with ending_clearly():
        here = configuration_context(config)
        document = {"plugins": {name: patch}}
        if here.settings.state_url is None:
            where = str(here.editable())
            _check(here, name, [document])
            edit(here.editable(), partial(_patch, document), here.variables)
        else:
            where = "the fleet's overlay"
            asyncio.run(_overlay(here, name, document))
        told = {"plugin": name, "changed": patch, "where": where}
        print_json(told) if as_json else typer.echo(f"{where}: {name} changed")


async def _overlay(here: ConfigurationContext, name: str, document: Mapping[str, Any]) -> None:
    async with fleet(here.settings) as state:
        await Overlay(state).change(document, lambda _before, after: _check(here, name, after.patches))


def _patch(patch: Mapping[str, Any], document: dict[str, Any]) -> None:
    """Lay a patch onto a document, in place."""
    document.update(patched(document, patch))


def _check(here: ConfigurationContext, name: str, above: Sequence[Mapping[str, Any]]) -> None:
    """See that a plugin can be used as these patches over the configuration want it.

    Raises:
        ConfigurationError: naming the field that is wrong, and why.
    """
    section = here.configuration(above).plugins[name]
    code = PluginSources(here.settings.plugins_dir).find([name])[name]
    if section.enabled and section.isolation == "process":  # its code is never read in this process
        process = PluginProcess(code, section, here.settings.cache_dir / "plugins" / name)
        with ThreadPoolExecutor(1) as thread:  # beside the event loop that this may run in
            thread.submit(asyncio.run, process.described()).result()
    elif section.enabled:
        configured(PluginLoader.declared(code, section, code.load()), section.config)


def _document(file: Path) -> dict[str, Any]:
    """A configuration of a plugin, from a file or the input.

    Raises:
        ConfigurationError: it cannot be read, or is no object.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file}: a configuration is an object: KEY: VALUE")
    return found


def _pair(text: str) -> tuple[str, Any]:
    key, is_one, value = text.partition("=")
    if not is_one or not key:
        raise ConfigurationError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value) if value else None
    except ValueError:
        return key, value


async def _asked(settings: Settings, **question: str) -> list[Mapping[str, Any]]:
    if settings.state_url is None:
        return await ask_here(settings.port, **question)
    async with fleet(settings) as state:
        return await ask(state, **question)


def _nobody(settings: Settings) -> str:
    return nobody(settings.port) if settings.state_url is None else "no running worker answered through REDIS_URL"


def _print(rows: list[dict[str, Any]]) -> None:
    unknown = {"version": "", "description": ""}
    shown = [(row, row["workers"][0] if row["workers"] else unknown) for row in rows]
    print_table(
        ("name", "version", "state", "from", "description"),
        [(row["name"], first["version"], _state(row), row["where"], first["description"]) for row, first in shown],
    )


def _state(row: Mapping[str, Any]) -> str:
    if not row["enabled"]:
        return "disabled"
    phases = [each["phase"] for each in row["workers"]]
    counted = [f"{phase} ({phases.count(phase)})" if len(phases) > 1 else phase for phase in dict.fromkeys(phases)]
    reason = next((each["reason"] for each in row["workers"] if each["reason"]), "")
    return ", ".join(counted) + (f": {reason}" if reason else "")
