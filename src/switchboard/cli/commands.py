"""The commands: where each stands, and what it is for. A command's own file is imported once it is called."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from switchboard import __version__
from switchboard.cli.exit_codes import refusing_clearly
from switchboard.cli.output import AsJson, ask_for_json, print_json
from switchboard.common.garbage import uncollected
from switchboard.common.process import shut


@dataclass(frozen=True)
class Place:
    """Where a command stands."""

    module: str
    name: str
    """A function, or a `Typer` of several commands."""

    purpose: str
    """One line, for the list of commands."""


COMMANDS: Final[Mapping[str, Place]] = {
    "serve": Place("switchboard.cli.processes.serve", "serve", "Serve MCP."),
    "auth-server": Place(
        "switchboard.cli.processes.serve", "auth_server", "Serve the authorization server on its own."
    ),
    "token": Place("switchboard.cli.login", "token", "Print an access token, got by the real flow."),
    "connect": Place("switchboard.cli.connect.command", "connect", "A stdio server in front of a remote one."),
    "tools": Place("switchboard.cli.client.tools", "tools", "List a server's tools and what they cost in tokens."),
    "call": Place("switchboard.cli.client.call", "call", "Call one tool of a server."),
    "why": Place("switchboard.cli.client.why", "why", "Say whether a person may call a tool, and why."),
    "wait": Place("switchboard.cli.client.tools", "wait", "Wait until a server is ready."),
    "install": Place("switchboard.cli.client.install", "install", "Tell an MCP client of this server."),
    "doctor": Place("switchboard.cli.checks.doctor", "doctor", "Check what this server needs, and say what to mend."),
    "config": Place(
        "switchboard.cli.configuring.config_commands", "app", "The configuration file: check, show, import."
    ),
    "servers": Place("switchboard.cli.configuring.servers_commands", "app", "The servers behind this one."),
    "search": Place("switchboard.cli.configuring.registry_commands", "search", "Find servers in the MCP registry."),
    "add": Place("switchboard.cli.configuring.registry_commands", "add", "Add a server from the MCP registry."),
    "plugins": Place(
        "switchboard.cli.configuring.plugins_commands", "app", "Plugins: what there is, changes, a new one."
    ),
    "credentials": Place(
        "switchboard.cli.client.credential_commands", "credentials", "What a running server keeps, never a value."
    ),
    "connections": Place("switchboard.cli.client.credential_commands", "connections", "Who is connected to what."),
    "vault": Place("switchboard.cli.vault.vault_commands", "app", "The credentials: status, new keys, backups."),
    "audit": Place("switchboard.cli.vault.audit_commands", "app", "The audit log: show it, and see that it is whole."),
    "workers": Place("switchboard.cli.client.fleet_commands", "workers", "The workers: list them, have one leave."),
    "sessions": Place("switchboard.cli.client.fleet_commands", "sessions", "The sessions: list them, end one."),
    "streams": Place("switchboard.cli.client.fleet_commands", "streams", "The open streams: list them, end one."),
    "presets": Place("switchboard.cli.configuring.config_commands", "presets", "Named selections of what is offered."),
    "lab": Place("switchboard.cli.lab.command", "app", "Test a client against the authorization lab."),
    "completion": Place("switchboard.cli.commands", "completion", "Print what has a shell complete commands."),
    "version": Place("switchboard.cli.commands", "version", "Print the version."),
}


class _Commands(TyperGroup):
    """The table as a group. The list of commands is shown without importing any."""

    _listing = False

    def invoke(self, ctx: Any) -> Any:
        ask_for_json(False)
        with refusing_clearly(ctx.args):
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=place.purpose)
        with uncollected():
            module = importlib.import_module(place.module)
        return _command(cmd_name, getattr(module, place.name))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _command(name: str, found: Any) -> Any:
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


def version(as_json: AsJson = False) -> None:
    """Print the version."""
    print_json({"version": __version__}) if as_json else typer.echo(__version__)


def _version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def every_command() -> Iterator[tuple[str, Any]]:
    """Every command by its whole name, those below others too. All are imported."""
    for name, place in COMMANDS.items():
        found = _command(name, getattr(importlib.import_module(place.module), place.name))
        if isinstance(found, TyperGroup):
            yield from ((f"{name} {each}", found.commands[each]) for each in found.commands)
        else:
            yield name, found


_COMPLETING: Final = "_SWITCHBOARD_COMPLETE"
"""Set by the shell that asks how a line can go on."""


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Which shell.")]) -> None:
    """Print what has a shell complete commands: `source <(switchboard completion bash)` in its start-up file."""
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name="switchboard", complete_var=_COMPLETING, shell=shell))


app = typer.Typer(
    name="switchboard",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A remote MCP server that any number of workers serve behind one hostname."""


def main() -> None:
    """The entry point of the `switchboard` command."""
    shut()
    if _COMPLETING in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    app(prog_name="switchboard")
