"""`switchboard workers list|drain`, `switchboard sessions list|end`: through the API of a running server."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from switchboard.cli.client.api import PAGE, api
from switchboard.cli.client.server import Header, Insecure, Token, Url
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table

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
        found = api(url, token, header, insecure=insecure).asked("GET", "workers")["items"]
        if as_json:
            print_json(found)
            return
        members = ("id", "state", "version", "uptime_s", "streams", "requests")
        rows = ([each.get(name) for name in members] for each in found)
        print_table(("worker", "state", "version", "up (s)", "streams", "requests"), rows)


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
        told = api(url, token, header, insecure=insecure).asked("POST", path)
        print_json(told) if as_json else say(f"worker {told['id']} is leaving")


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
        found = list(api(url, token, header, insecure=insecure).items("sessions", PAGE))
        if as_json:
            print_json(found)
            return
        shown = ({**each, "stream": "open" if each["stream_open"] else ""} for each in found)
        members = ("id", "subject", "client", "protocol_version", "stream", "ends_in_s")
        rows = ([each[name] for name in members] for each in shown)
        print_table(("session", "subject", "client", "protocol", "stream", "ends in (s)"), rows)
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
        api(url, token, header, insecure=insecure).asked("DELETE", path)
        print_json({"ended": session}) if as_json else say(f"session {session} is ended")
