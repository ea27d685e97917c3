"""`switchboard workers list|drain`, `switchboard sessions list|end`: through the API of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote, urljoin

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from switchboard.cli.client.server import AsJson, CallFailed, Header, Insecure, Token, Url, endpoint, headers
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.common.visible_text import escaped

TIMEOUT_S: Final = 30.0
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
        found = _asked("GET", "workers", endpoint(url, insecure=insecure), headers(header, token))["items"]
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
        told = _asked("POST", path, endpoint(url, insecure=insecure), headers(header, token))
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
        _asked("DELETE", path, endpoint(url, insecure=insecure), headers(header, token))
        typer.echo(json.dumps({"ended": session})) if as_json else say(f"session {session} is ended")


def _print(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(*titles, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if value is None else escaped(str(value)) for value in row))
    Console(soft_wrap=True).print(table)


def _sessions(url: str, sent: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = _asked("GET", "sessions", url, sent, limit=PAGE, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]


def _asked(method: str, path: str, url: str, sent: Mapping[str, str], **query: str | int) -> Any:
    """What the API answered; None where it answers without a body.

    Raises:
        CallFailed: it cannot be reached, refused, or is no API of ours.
    """
    address = urljoin(url, f"api/{path}")
    try:
        answer = httpx2.request(method, address, headers=dict(sent), params=query, timeout=TIMEOUT_S)
        document = answer.json() if answer.content else None
    except httpx2.HTTPError as error:
        raise CallFailed(f"{address} cannot be reached: {error}") from error
    except ValueError:
        document = None
    if answer.status_code == 401:
        raise CallFailed(f"{address} needs a token with the scope admin: give it as --token or SWITCHBOARD_TOKEN")
    if not answer.is_success:
        detail = document.get("detail") if isinstance(document, dict) else None
        raise CallFailed(f"{address} answered {answer.status_code}: {escaped(str(detail or 'is it this server?'))}")
    if document is None and answer.status_code != 204:
        raise CallFailed(f"{address} answered {answer.status_code}, and no JSON: is it this server's address?")
    return document
