"""`switchboard workers list|drain`, `sessions list|end`, `streams list|end`: through the API of a running server."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from switchboard.cli.client.api import api, path_of
from switchboard.cli.client.server import Header, Insecure, Token, Url
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table

workers = typer.Typer(help="The workers of the fleet. They are asked through the API, with an operator's token.")
streams = typer.Typer(help="What clients hold open. Workers are asked through the API, with an operator's token.")
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
        path = path_of("workers", worker, "drain")
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
        found = list(api(url, token, header, insecure=insecure).items("sessions"))
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
        path = path_of("sessions", session)
        api(url, token, header, insecure=insecure).asked("DELETE", path)
        print_json({"ended": session}) if as_json else say(f"session {session} is ended")


@streams.command("list")
def list_streams(
    worker: Annotated[str, typer.Option(help="Only those that this worker holds.")] = "",
    session: Annotated[str, typer.Option(help="Only those of this session.")] = "",
    subject: Annotated[str, typer.Option(help="Only those of the person of this subject.")] = "",
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List what clients hold open, worker by worker. A worker that does not answer is named."""
    with ending_clearly():
        at = api(url, token, header, insecure=insecure)
        pages = list(at.pages("streams", worker=worker, session=session, subject=subject))
        found = [each for page in pages for each in page["items"]]
        if as_json:
            print_json(found)
        else:
            members = ("kind", "era", "subject", "session", "worker")
            rows = ([*(each[name] for name in members), _seconds_since(each["opened"]), each["id"]] for each in found)
            print_table(("kind", "era", "subject", "session", "worker", "open for (s)", "stream"), rows)
            say(f"{len(found)} streams")
        for silent in sorted({each for page in pages for each in page["silent"]}):
            say(f"worker {silent} did not answer: what it holds is not listed")


@streams.command("end")
def end_stream(
    stream: Annotated[str, typer.Argument(help="Its id, as `switchboard streams list` shows it.")],
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """End a stream, at the worker that holds it. Its client may open another, or resume it."""
    with ending_clearly():
        api(url, token, header, insecure=insecure).asked("DELETE", path_of("streams", stream))
        print_json({"ended": stream}) if as_json else say(f"stream {stream} is ended")


def _seconds_since(at: float) -> int:
    return max(0, round(time.time() - at))
