"""`switchboard workers list|drain`, `switchboard sessions list|end`: through the API of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from switchboard.cli.client.api import asked
from switchboard.cli.client.server import AsJson, Header, Insecure, Token, Url, endpoint, headers
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.common.visible_text import escaped

PAGE: Final = 500
"""Sessions of one page: the most that the API gives."""

workers = typer.Typer(help="The workers of the fleet. They are asked through the API, with an operator's token.")
sessions = typer.Typer(help="The sessions of the fleet. They are asked through the API, with an operator's token.")


@workers.command("list")
def list_workers(
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List the workers, and what each holds; `silent` is one that did not answer."""
    with ending_clearly():
        found = asked("GET", "workers", endpoint(url, insecure=insecure), headers(header, token))["items"]
        if as_json:
            typer.echo(json.dumps(found))
            return
        members = ("id", "state", "version", "uptime_s", "streams", "requests")
        rows = ([each.get(name) for name in members] for each in found)
        _print(("worker", "state", "version", "up (s)", "streams", "requests"), rows)


@workers.command("drain")
def drain_worker(
    worker: Annotated[str, typer.Argument(help="Its id, as `switchboard workers list` shows it.")],
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Have a worker leave: its streams move to others, its requests finish, then it ends."""
    with ending_clearly():
        path = f"workers/{quote(worker, safe='')}/drain"
        told = asked("POST", path, endpoint(url, insecure=insecure), headers(header, token))
        typer.echo(json.dumps(told)) if as_json else say(f"worker {told['id']} is leaving")


@sessions.command("list")
def list_sessions(
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List the sessions of all workers."""
    with ending_clearly():
        found = list(_sessions(endpoint(url, insecure=insecure), headers(header, token)))
        if as_json:
            typer.echo(json.dumps(found))
            return
        shown = ({**each, "stream": "open" if each["stream_open"] else ""} for each in found)
        members = ("id", "subject", "client", "protocol_version", "stream", "ends_in_s")
        rows = ([each[name] for name in members] for each in shown)
        _print(("session", "subject", "client", "protocol", "stream", "ends in (s)"), rows)
        say(f"{len(found)} sessions")


@sessions.command("end")
def end_session(
    session: Annotated[str, typer.Argument(help="Its id, as `switchboard sessions list` shows it.")],
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """End a session: its streams close on every worker, and its next request is refused."""
    with ending_clearly():
        path = f"sessions/{quote(session, safe='')}"
        asked("DELETE", path, endpoint(url, insecure=insecure), headers(header, token))
        typer.echo(json.dumps({"ended": session})) if as_json else say(f"session {session} is ended")


def _print(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(*titles, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if value is None else escaped(str(value)) for value in row))
    Console(soft_wrap=True).print(table)


def _sessions(url: str, sent: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = asked("GET", "sessions", url, sent, limit=PAGE, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]
