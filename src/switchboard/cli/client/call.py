"""`switchboard call TOOL`: one call, with its progress shown and its questions answered at the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from switchboard.cli.client.server import (
    Browser,
    Header,
    Insecure,
    Token,
    Url,
    endpoint,
    headers,
    opened,
)
from switchboard.cli.exit_codes import FAILED, ending_clearly, say
from switchboard.cli.output import AsJson, print_json
from switchboard.common.visible_text import escaped, plain
from switchboard.errors import ConfigurationError

YES: Final = frozenset({"y", "yes", "true", "1", "on"})
NO: Final = frozenset({"n", "no", "false", "0", "off"})


def call(
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    argument: Annotated[
        list[str] | None, typer.Argument(help="name=value; a value that is JSON is taken as such, any other as text.")
    ] = None,
    arguments: Annotated[str | None, typer.Option("--arguments", help="All arguments as one JSON object.")] = None,
    url: Url = None,
    token: Token = None,
    header: Header = None,
    browser: Browser = True,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Call a tool, and print its result: exit code 0, or 1 for an error of the tool or the server."""
    with ending_clearly():
        given = _given(argument or (), arguments)
        server, sent = endpoint(url, insecure=insecure), headers(header, token)
        result = asyncio.run(_called(server, sent, tool, given, browser=browser))
        if as_json:
            print_json(result)
        else:
            for line in _shown(result):
                typer.echo(line)
        if result.get("isError"):
            raise typer.Exit(FAILED)


def _given(pairs: Iterable[str], whole: str | None) -> dict[str, Any]:
    try:
        found = json.loads(whole) if whole is not None else {}
    except ValueError as error:
        raise ConfigurationError(f"--arguments is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError('--arguments must be a JSON object: {"name": value}')
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"{pair!r}: give an argument as name=value")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


async def _called(url: str, sent: dict[str, str], tool: str, given: dict[str, Any], *, browser: bool) -> dict[str, Any]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )

    async def answer(_context: Any, params: Any) -> Any:
        bar.stop()  # else it is drawn over what the person writes
        try:
            return await asyncio.to_thread(_asked, params.model_dump(mode="json", by_alias=True, exclude_none=True))
        finally:
            bar.start()

    asked = {"elicitation_callback": answer if sys.stdin.isatty() else None}
    async with opened(url, sent, browser=browser, cache=None, **asked) as client:
        with bar:
            task = bar.add_task(tool, total=None, visible=False)

            async def report(progress: float, total: float | None, message: str | None) -> None:
                said = escaped(message) if message else tool
                bar.update(task, completed=progress, total=total, description=said, visible=True)

            result = await client.call_tool(tool, given, progress_callback=report)
    dumped: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _shown(result: dict[str, Any]) -> Iterable[str]:
    """A result as lines of text; what is no text is named, not printed."""
    for block in result.get("content", ()):
        kind = block.get("type")
        if kind == "text":
            yield plain(block["text"])
        elif kind == "resource_link":
            yield f"[{escaped(block['uri'])}]"
        elif kind == "resource":
            yield plain(block["resource"].get("text") or f"[{block['resource']['uri']}]")
        else:
            yield f"[{kind}, {escaped(block.get('mimeType', ''))}, {len(block.get('data', ''))} bytes of base64]"
    if not result.get("content") and "structuredContent" in result:
        yield json.dumps(result["structuredContent"], indent=2, ensure_ascii=False)


# -- questions of the tool -------------------------------------------------------------------------------------------


def _asked(params: dict[str, Any]) -> Any:
    """Ask the person at the terminal; an empty answer leaves a field out, Ctrl-C cancels the question."""
    from mcp_types import ElicitResult

    say(escaped(params.get("message", "")))
    if params.get("url"):
        say(f"open: {escaped(params['url'])}")
        done = typer.confirm("did you do that?", default=True, err=True)
        return ElicitResult(action="accept" if done else "decline")
    schema = params.get("requestedSchema", {})
    found: dict[str, Any] = {}
    try:
        for name, field in schema.get("properties", {}).items():
            value = _field(name, field, required=name in schema.get("required", ()))
            if value is not None:
                found[name] = value
    except (typer.Abort, EOFError):
        return ElicitResult(action="cancel")
    return ElicitResult(action="accept", content=found)


def _field(name: str, field: dict[str, Any], *, required: bool) -> Any:
    choices = field.get("enum") or [each.get("const") for each in field.get("oneOf", ())]
    hint = f" ({'/'.join(map(str, choices))})" if choices else f" ({field.get('type', 'string')})"
    while True:
        text = typer.prompt(
            escaped(field.get("title") or name) + hint,
            default="" if not required else None,
            show_default=False,
            err=True,
        )
        if not text and not required:
            return field.get("default")
        try:
            return _value(text, field, choices)
        except ValueError as error:
            say(str(error))


def _value(text: str, field: dict[str, Any], choices: list[Any]) -> Any:
    """A field's value as its schema wants it.

    Raises:
        ValueError: it cannot be that.
    """
    kind = field.get("type")
    if choices and text not in map(str, choices):
        raise ValueError(f"one of: {', '.join(map(str, choices))}")
    if kind == "boolean":
        if text.lower() not in YES | NO:
            raise ValueError("yes or no")
        return text.lower() in YES
    if kind in ("integer", "number"):
        try:
            return int(text) if kind == "integer" else float(text)
        except ValueError:
            raise ValueError(f"a number is needed, not {text!r}") from None
    if kind == "array":
        return [each.strip() for each in text.split(",")]
    return text
