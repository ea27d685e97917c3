"""`switchboard install`: write this server into an MCP client's configuration."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switchboard.cli.client.server import Insecure, Url, endpoint
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json
from switchboard.config.editing import replace_file
from switchboard.config.formats import parsed, read_text, without_comments
from switchboard.errors import ConfigurationError
from switchboard.protocol.client_setups import CLIENTS, ClientSetup

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)

_NAMES: Final = ", ".join(CLIENTS)


def install(
    client: Annotated[str, typer.Option(help=f"Which client: {_NAMES}.")],
    url: Url = None,
    name: Annotated[str, typer.Option(help="What the client is to call the server.")] = "switchboard",
    file: Annotated[Path | None, typer.Option(help="Its configuration file, where it is not the usual one.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a server of that name.")] = False,
    insecure: Insecure = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write this server into a client's configuration file; a backup of the file is kept."""
    with ending_clearly():
        setup = CLIENTS.get(client)
        if setup is None:
            raise ConfigurationError(f"--client {client!r} is not known; known are: {_NAMES}")
        if not NAME.fullmatch(name):
            raise ConfigurationError(f"--name {name!r}: a name is letters, digits, - and _, at most 64 of them")
        target = endpoint(url, insecure=insecure)
        path = file or setup.file()
        row = setup.row(target, bridge(target))
        if path.suffix == ".toml":
            written = _with_table(setup, path, name, setup.text(name, target, bridge(target)))
        else:
            written = _with_row(setup, path, name, row, replace=replace)
        said = {"client": client, "file": str(path), "name": name, "url": target}
        if dry_run:
            print_json({**said, "would_write": written}) if as_json else typer.echo(written.rstrip())
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        backup = replace_file(path, written)
        if as_json:
            print_json({**said, "backup": backup and str(backup)})
            return
        say(f"{setup.title} knows {target} as {name!r}: {path}" + (f"; backup: {backup}" if backup else ""))
        say(f"start {setup.title} anew, or reload its servers; it will ask you to sign in")


def bridge(url: str) -> Sequence[str]:
    """The command that connects a client that only starts programs: this very `switchboard`, by its path."""
    found = shutil.which("switchboard") or str(Path(sys.executable).with_name("switchboard"))
    return (found, "connect", url)


def _with_row(setup: ClientSetup, path: Path, name: str, row: dict[str, Any], *, replace: bool) -> str:
    """The JSON file with the server in it."""
    text = read_text(path) if path.exists() else ""
    document = parsed(path) if text.strip() else {}
    if without_comments(text) != text:
        row_text = json.dumps({name: row}, indent=2)
        raise ConfigurationError(
            f"{path} has comments, which would be lost; add this below {setup.section!r} by hand:\n{row_text}"
        )
    servers = document.setdefault(setup.section, {})
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{path}: {setup.section!r} is no object; mend that first")
    if servers.get(name, row) != row and not replace:
        raise ConfigurationError(f"{path}: there is another server {name!r}; use --replace, or another --name")
    servers[name] = row
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _with_table(setup: ClientSetup, path: Path, name: str, table: str) -> str:
    """The TOML file with one table more. It is never written anew, so that what people wrote stays as it is."""
    if not path.exists():
        return table
    if name in parsed(path).get(setup.section, {}):
        raise ConfigurationError(f"{path}: there is a table [{setup.section}.{name}] already; change it by hand")
    return f"{read_text(path).rstrip()}\n\n{table}".lstrip()
