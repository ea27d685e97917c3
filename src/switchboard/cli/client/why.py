"""`switchboard why USER TOOL`: whether a person may call a tool, as a running worker decides it."""

from __future__ import annotations

from typing import Annotated

import typer

from switchboard.cli.client.api import api, path_of
from switchboard.cli.client.server import CallFailed, Header, Insecure, Token, Url
from switchboard.cli.exit_codes import FAILED, NoAnswer, ending_clearly
from switchboard.cli.output import AsJson, print_json
from switchboard.common.visible_text import escaped

MARKS = {"passed": "passed ", "refused": "REFUSED", "noted": "note   "}


def why(
    user: Annotated[str, typer.Argument(help="The person's subject, as `switchboard sessions list` shows it.")],
    tool: Annotated[str, typer.Argument(help="The tool, by the name that clients use.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope of the token, several times; else mcp.")] = None,
    preset: Annotated[str, typer.Option(help="The preset of the URL.")] = "",
    tags: Annotated[str, typer.Option(help="The tags of the URL: web,!danger.")] = "",
    issuer: Annotated[str | None, typer.Option(help="The person's issuer; else the server's own.")] = None,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a call of a tool would come through, and what decides it, step by step.

    Ends with 0 if it would, with 1 if it is refused, and with 3 if the server cannot be asked.
    """
    with ending_clearly():
        query: dict[str, str | list[str]] = {"subject": user, "scope": scope or ["mcp"], "preset": preset, "tags": tags}
        if issuer is not None:
            query["issuer"] = issuer
        at = api(url, token, header, insecure=insecure)
        try:
            found = at.asked("GET", path_of("tools", tool, "decision"), **query)
        except CallFailed as error:
            raise NoAnswer(str(error)) from None
        if as_json:
            print_json(found)
        else:
            for step in found["steps"]:
                typer.echo(f"{MARKS[step['outcome']]}  {step['step']}: {escaped(step['said'])}")
            typer.echo(f"{user} {'may' if found['allowed'] else 'may not'} call {tool}")
        if not found["allowed"]:
            raise typer.Exit(FAILED)
