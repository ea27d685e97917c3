"""`switchboard credentials` and `switchboard connections`: through the API of a running server. No value is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from switchboard.cli.client.api import Refused, api, path_of
from switchboard.cli.client.server import Header, Insecure, Token, Url
from switchboard.cli.exit_codes import FAILED, ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.common.visible_text import escaped
from switchboard.errors import ConfigurationError

credentials = typer.Typer(help="What the vault of a running server holds, never a value; with an operator's token.")
connections = typer.Typer(help="Who is connected to what with an account; with an operator's token.")

Credential = Annotated[str, typer.Argument(help="Its id, as `switchboard credentials list` shows it.")]
Connection = Annotated[str, typer.Argument(help="Its id, as `switchboard connections list` shows it.")]
Subject = Annotated[str, typer.Option(help="Only those of the person of this subject.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

IS_THERE: Final = 428
"""The status for a change of something that the caller did not say to have seen (RFC 6585 §3)."""


@credentials.command("list")
def list_credentials(
    server: Annotated[str, typer.Option(help="Only those for this server.")] = "",
    plugin: Annotated[str, typer.Option(help="Only those for this plugin.")] = "",
    subject: Subject = "",
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List what is kept: for what, whose, until when, and when it was used last."""
    with ending_clearly():
        at = api(url, token, header, insecure=insecure)
        found = list(at.items("credentials", server=server, plugin=plugin, subject=subject))
        if as_json:
            print_json(found)
            return
        titles = ("for", "name", "kind", "whose", "state", "ends", "last used", "id")
        print_table(titles, map(_row, found))
        say(f"{len(found)} credentials")


@credentials.command("show")
def show_credential(
    credential: Credential,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Show what is known of one, but its value."""
    with ending_clearly():
        found = api(url, token, header, insecure=insecure).asked("GET", path_of("credentials", credential))
        if as_json:
            print_json(found)
            return
        times = {name: _time(found[name]) for name in ("expires_at", "last_used")}
        for name, value in {**found, **times}.items():
            if value not in (None, ""):
                typer.echo(f"{name}: {escaped(str(value))}")


@credentials.command("set")
def set_credential(
    plugin: Annotated[str, typer.Argument(help="The plugin that has it for everybody.")],
    name: Annotated[str, typer.Argument(help="The name that the plugin asks for.")],
    expires_in: Annotated[float | None, typer.Option(min=1, help="Seconds that it is kept; else for ever.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the value that is there.")] = False,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Keep a value for a plugin. It is asked for at the terminal, else read from standard input; never an argument."""
    with ending_clearly():
        at = api(url, token, header, insecure=insecure)
        body: dict[str, Any] = {"value": _value(name)}
        if expires_in is not None:
            body["expires_at"] = time.time() + expires_in
        path = path_of("plugins", plugin, "credentials", name)
        try:
            found = at.asked("PUT", path, body)
        except Refused as error:
            if error.status != IS_THERE:
                raise
            if not replace:
                raise ConfigurationError(f"{plugin} has a value {name!r} already: use --replace") from None
            found = at.answer("PUT", path, body, if_match=error.etag).document
        print_json(found) if as_json else say(f"{plugin} has the value {name!r} from its next use on")


@credentials.command("delete")
def delete_credential(
    credential: Credential,
    yes: Yes = False,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Delete one; whoever uses it has none from the next call on. An account is ended as a connection."""
    with ending_clearly():
        at, path = api(url, token, header, insecure=insecure), path_of("credentials", credential)
        found = at.asked("GET", path)
        if not yes:
            typer.confirm(f"Delete {_of(found)}?", abort=True, err=True)
        at.asked("DELETE", path)
        print_json({"deleted": credential}) if as_json else say(f"deleted: {_of(found)}")


@credentials.command("check")
def check_credential(
    credential: Credential,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Say whether one can be read and used; its value is sent nowhere. Ends with 1 if not."""
    with ending_clearly():
        path = path_of("credentials", credential, "check")
        found = api(url, token, header, insecure=insecure).asked("POST", path)
        if as_json:
            print_json(found)
        else:
            typer.echo("it can be used" if found["ok"] else f"it cannot be used: {escaped(found['reason'])}")
        if not found["ok"]:
            raise typer.Exit(FAILED)


@connections.command("list")
def list_connections(
    to: Annotated[str, typer.Option(help="Only those to this server or plugin.")] = "",
    subject: Subject = "",
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List who is connected to what, with an account or with values of their own."""
    with ending_clearly():
        found = list(api(url, token, header, insecure=insecure).items("connections", to=to, subject=subject))
        if as_json:
            print_json(found)
            return
        members = ("to", "kind", "subject", "state", "reason", "id")
        print_table(("to", "kind", "whose", "state", "why", "id"), ([each[name] for name in members] for each in found))
        say(f"{len(found)} connections")


@connections.command("check")
def check_connection(
    connection: Connection,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Say how a person stands at a server or plugin now. Ends with 1 unless the person is connected."""
    with ending_clearly():
        path = path_of("connections", connection, "check")
        found = api(url, token, header, insecure=insecure).asked("POST", path)
        if as_json:
            print_json(found)
        else:
            why = f": {escaped(found['reason'])}" if found["reason"] else ""
            typer.echo(f"{escaped(found['subject'])} at {found['to']}: {found['state'].replace('_', ' ')}{why}")
        if found["state"] != "connected":
            raise typer.Exit(FAILED)


@connections.command("end")
def end_connection(
    connection: Connection,
    yes: Yes = False,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Forget all that a person has at a server or plugin, and end it at the OAuth provider; to use it is to connect."""
    with ending_clearly():
        at, path = api(url, token, header, insecure=insecure), path_of("connections", connection)
        if not yes:
            found = at.asked("POST", f"{path}/check")
            typer.confirm(f"End the connection of {escaped(found['subject'])} to {found['to']}?", abort=True, err=True)
        ended = at.asked("DELETE", path)
        if as_json:
            print_json({"ended": connection, **ended})
        else:
            say(f"ended{': ' + escaped(ended['note']) if ended['note'] else ''}")


def _value(name: str) -> str:
    """The value, from a person who sees nothing of what is typed, or from standard input.

    Raises:
        ConfigurationError: there is none.
    """
    if sys.stdin.isatty():
        value: str = typer.prompt(f"{name} (not shown)", hide_input=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise ConfigurationError("the value is empty: type it at the terminal, or give it on standard input")
    return value


def _row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    times = [_time(found[name]) for name in ("expires_at", "last_used")]
    return _for(found), found["name"], found["kind"], _whose(found), found["state"], *times, found["id"]


def _of(found: Mapping[str, Any]) -> str:
    return escaped(f"{found['name']} ({found['kind']}) of {_whose(found)} for {_for(found)}")


def _for(found: Mapping[str, Any]) -> str:
    kinds = [f"{kind}:{found[kind]}" for kind in ("server", "plugin") if found[kind]]
    return kinds[0] if kinds else "the gateway"


def _whose(found: Mapping[str, Any]) -> str:
    return "everybody" if found["shared"] else str(found["subject"])


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
