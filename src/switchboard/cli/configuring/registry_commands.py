"""`switchboard search WORDS` and `switchboard add NAME`: servers of the MCP registry [MCP_REGISTRY_URL]."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
import yaml

from switchboard.cli.client.api import Api, api, path_of
from switchboard.cli.client.server import Header, Insecure, Token
from switchboard.cli.context import ConfigurationContext, FileOption, configuration_context
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.cli.progress import progress
from switchboard.common.visible_text import escaped
from switchboard.config import provider_name
from switchboard.config.editing import edit
from switchboard.config.redaction import shown_as_written
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.settings import load_settings
from switchboard.sources.registry import Listed, Registry
from switchboard.sources.registry_entries import Option, options

PAGES: Final = 10
"""Pages that a search reads, when more than its first word has to fit."""
PAGE: Final = 100


def search(
    words: Annotated[list[str], typer.Argument(help="The first is a part of the name; the others stand anywhere.")],
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many to show.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Find servers in the MCP registry. Ends with 1 if there is none."""
    with ending_clearly():
        with progress("asking the registry"):
            found = asyncio.run(_found(Registry(load_settings().mcp_registry_url), words, limit))
        if as_json:
            print_json([{**each.entry.model_dump(mode="json"), **_about(each)} for each in found])
        else:
            print_table(("name", "version", "from", "description"), map(_row, found))
        if not found:
            raise SwitchboardError("the registry has no such server")


def add(
    name: Annotated[str, typer.Argument(help="The server's name in the registry, as `switchboard search` shows it.")],
    called: Annotated[str | None, typer.Option("--as", help="What it is called here; else the last part.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of what it asks for, several times; ${VAR} is kept.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--from", help="http, sse, npm, pypi or docker; else the first.")] = None,
    version: Annotated[str, typer.Option(help="Which version.")] = "latest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be added.")] = False,
    config: FileOption = None,
    url: Annotated[str | None, typer.Option(help="Add it to the fleet at this endpoint, not to the file.")] = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Add a server from the MCP registry to the configuration file, or with --url to a running fleet.

    The row is checked first, and a backup of the file is kept. A value that is asked for and not given stands in the
    row as a variable, which has to be set before the server starts.
    """
    with ending_clearly():
        listed = asyncio.run(Registry(load_settings().mcp_registry_url).server(name, version))
        server = called or listed.entry.suggested
        option = _chosen(options(listed.entry, server, _pairs(values or [])), kind)
        told: dict[str, Any] = {"name": server, "kind": option.kind, "added": not dry_run, "to": None, "backup": None}
        if listed.status not in ("", "active"):
            say(f"{name} is {escaped(listed.status)} in the registry: {escaped(listed.message)}")
        if not dry_run and url is not None:
            _to_fleet(api(url, token, header, insecure=insecure), server, option)
            told["to"] = url
        elif not dry_run:
            here = configuration_context(config)
            told["to"], told["backup"] = _to_file(here, server, option)
        row = shown_as_written({"mcpServers": {server: option.row}})
        unset = [asdict(each) for each in option.inputs if each.reference]
        if as_json:
            print_json({**told, **row, "asks_for": unset, "notes": option.notes})
            return
        typer.echo(yaml.safe_dump(row, sort_keys=False, allow_unicode=True, width=100).rstrip())
        _tell(told, option)


def _row(listed: Listed) -> Sequence[str]:
    entry = listed.entry
    kinds = dict.fromkeys(option.kind for option in options(entry, entry.suggested, {}))
    status = "" if listed.status in ("", "active") else f" ({listed.status})"
    return entry.name, entry.version + status, ", ".join(kinds), entry.title or entry.description


def _tell(told: Mapping[str, Any], option: Option) -> None:
    for note in option.notes:
        say(f"look at: {note}")
    for each in option.inputs:
        about = f" ({escaped(each.description)})" if each.description else ""
        if each.reference:
            say(f"set {each.reference[2:-1]} before it starts, or give --set {each.name}=…: {each.where}{about}")
        elif not each.required and each.default is None and each.name not in str(option.row):
            say(f"optional: --set {each.name}=…: {each.where}{about}")
    if told["added"]:
        backup = f"; backup: {told['backup']}" if told["backup"] else ""
        say(f"{told['name']} added to {told['to']}{backup}")


async def _found(registry: Registry, words: Sequence[str], limit: int) -> list[Listed]:
    """Those whose name has the first word in it, and all the words somewhere."""
    found: list[Listed] = []
    cursor = ""
    for _ in range(PAGES):
        page = await registry.search(words[0], cursor=cursor, limit=PAGE)
        found += [each for each in page.servers if _fits(each, words[1:])]
        if not (cursor := page.cursor) or len(found) >= limit:
            break
    return found[:limit]


def _fits(listed: Listed, words: Sequence[str]) -> bool:
    entry = listed.entry
    text = f"{entry.name} {entry.title} {entry.description}".lower()
    return all(word.lower() in text for word in words)


def _about(listed: Listed) -> dict[str, str]:
    return {"status": listed.status, "status_message": listed.message, "updated": listed.updated}


def _chosen(found: Sequence[Option], kind: str | None) -> Option:
    """The first that fits.

    Raises:
        ConfigurationError: none does; with the reason of each.
    """
    fitting = [option for option in found if kind in (None, option.kind)]
    for option in fitting:
        if not option.problem:
            return option
    if not fitting:
        there = ", ".join(option.kind for option in found) or "no package or address"
        raise ConfigurationError(f"it is not to be had from {kind or 'anywhere'}; it has: {there}")
    raise ConfigurationError("\n".join(f"{option.kind}: {option.problem}" for option in fitting))


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--set {name!r}: give it as NAME=VALUE")
        found[name] = value
    return found


def _to_fleet(fleet: Api, server: str, option: Option) -> None:
    """Through the API, which checks it, and refuses to replace a server."""
    fleet.asked("PUT", path_of("servers", server), option.row)


def _to_file(here: ConfigurationContext, server: str, option: Option) -> tuple[str, str | None]:
    """The file, and its backup."""

    def change(document: dict[str, Any]) -> None:
        servers = document.setdefault("mcpServers", {})
        if provider_name(server) in map(provider_name, servers):
            raise ConfigurationError(f"there is a server {server!r} already: give it another name with --as")
        servers[server] = option.row

    path = here.editable()
    backup = edit(path, change, here.variables)
    section = here.configuration().servers.get(server)
    if section is not None and not section.enabled:
        return str(path), str(backup) if backup else None
    for said in here.lacking(here.configuration()):
        if said.startswith(f"mcpServers.{server}:"):
            say(said)
    return str(path), str(backup) if backup else None
