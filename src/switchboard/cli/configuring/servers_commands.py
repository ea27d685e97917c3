"""`switchboard servers list|add|remove|enable|disable|restart|wait|logs`.

What changes the configuration changes the file: running workers follow it by themselves. What asks running workers goes
through Redis; without Redis, to the worker that serves PORT on this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switchboard.cli.context import FileOption, configuration_context, fleet
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.cli.progress import Shown, progress
from switchboard.common.visible_text import escaped
from switchboard.config import Configuration, ServerSection, SourceKind, provider_name
from switchboard.config.editing import edit
from switchboard.config.redaction import without_credentials, without_secrets
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.settings import Settings
from switchboard.worker_control import ask
from switchboard.worker_socket import ask_here, nobody

app = typer.Typer(help="The servers behind this one: what there is, how it is doing, and changes of it.")

Name = Annotated[str, typer.Argument(help="The server's name in the configuration.")]

_WHERE: Mapping[SourceKind, Callable[[ServerSection], str]] = {
    "command": lambda section: " ".join([section.command or "", *without_secrets(section.args)[:2]]),
    "url": lambda section: ", ".join(section.addresses),
    "npm": lambda section: _versioned(section.package, section.version, "@"),
    "pypi": lambda section: _versioned(section.package, section.version, "=="),
    "git": lambda section: f"{section.repository} {section.commit or section.tag or section.branch or ''}".strip(),
    "docker": lambda section: _versioned(section.image, section.version, ":"),
    "local": lambda section: str(section.path),
}


_TOLD: Final = ("phase", "condition", "reason")
_LOGGED: Final = (*_TOLD, "steps", "stderr")
"""Of what a worker says of a server: what is told of its state, and of its logs."""

POLL_S: Final = 0.5
"""Between two looks at how a server is prepared."""


@app.command("list")
def list_servers(config: FileOption = None, as_json: AsJson = False) -> None:
    """List the configured servers, and how they are doing on the workers that answer."""
    with ending_clearly():
        here = configuration_context(config)
        answers = asyncio.run(_asked(here.settings))
        found = here.configuration()
        if as_json:
            servers = [_document(name, section, answers) for name, section in found.servers.items()]
            broken = [{"name": name, "valid": False, "reason": row.reason} for name, row in found.broken.items()]
            print_json([*servers, *broken])
        else:
            _print(found, answers)
        if not answers:
            say(_nobody(here.settings))


@app.command()
def add(
    name: Name,
    launch: Annotated[
        list[str] | None, typer.Argument(help="A URL, or a command and its arguments (after `--`).")
    ] = None,
    source: Annotated[str | None, typer.Option(help="npm, pypi, git, docker or local.")] = None,
    at: Annotated[str | None, typer.Option("--from", help="The package, repository, image or path.")] = None,
    version: Annotated[str | None, typer.Option(help="The package's or image's version.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, several times; ${VAR} is kept as it is.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="'Name: value', several times.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag, several times.")] = None,
    config: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Add a server to the configuration file."""
    with ending_clearly():
        row: dict[str, Any] = _launched(launch or [], source, at)
        row |= {
            key: value
            for key, value in (
                ("version", version),
                ("env", _pairs(env or [], "=", "NAME=VALUE")),
                ("headers", _pairs(header or [], ":", "'Name: value'")),
                ("tags", tag),
            )
            if value
        }
        _edited(config, lambda servers: _added(servers, name, row), name, "added", as_json=as_json)


@app.command()
def remove(name: Name, config: FileOption = None, as_json: AsJson = False) -> None:
    """Take a server out of the configuration file."""
    with ending_clearly():
        _edited(config, lambda servers: servers.pop(_known(servers, name)), name, "removed", as_json=as_json)


@app.command()
def enable(name: Name, config: FileOption = None, as_json: AsJson = False) -> None:
    """Start a server that was disabled."""
    _switch(name, config, on=True, as_json=as_json)


@app.command()
def disable(name: Name, config: FileOption = None, as_json: AsJson = False) -> None:
    """Stop a server and keep its configuration."""
    _switch(name, config, on=False, as_json=as_json)


@app.command()
def restart(name: Name, as_json: AsJson = False) -> None:
    """Have every worker start a server anew."""
    with ending_clearly():
        settings = configuration_context(None).settings
        answers = asyncio.run(_asked(settings, restart=provider_name(name)))
        if not answers:
            raise SwitchboardError(_nobody(settings))
        done = sum(bool(answer["restarted"]) for answer in answers)
        if not done:
            raise SwitchboardError(f"no running worker has an enabled server {name!r}")
        if as_json:
            print_json({"server": name, "restarted": done, "workers": len(answers)})
            return
        typer.echo(f"{name}: restarted on {done} of {len(answers)} worker{'' if len(answers) == 1 else 's'}")


@app.command()
def wait(
    name: Name,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Wait until every worker that answers has prepared a server, its package installed, and show how far that is."""
    with ending_clearly():
        settings = configuration_context(None).settings
        with progress(name) as shown:
            rows = asyncio.run(_prepared(settings, name, shown, time.monotonic() + timeout))
        if as_json:
            print_json({"server": name, "workers": rows})
            return
        typer.echo(f"{name}: prepared by {len(rows)} worker{'' if len(rows) == 1 else 's'}")


async def _prepared(settings: Settings, name: str, shown: Shown, until: float) -> list[dict[str, Any]]:
    """How each worker is doing with a server, once all have prepared it.

    Raises:
        SwitchboardError: one cannot prepare it, or they have not in time; with what was said last.
    """
    while True:
        answers = await _asked(settings)
        rows = [(answer["worker"], row) for answer in answers for row in _rows(answer, provider_name(name))]
        failed = [row["reason"] for _, row in rows if row["phase"] == "failed" or row["condition"] == "failing"]
        if failed:
            raise SwitchboardError(f"{name} cannot be prepared: {escaped(failed[0])}")
        if any(row["phase"] == "disabled" for _, row in rows):
            raise SwitchboardError(f"{name} is disabled: `switchboard servers enable {name}`")
        if rows and len(rows) == len(answers) and all(row["phase"] == "running" for _, row in rows):
            return [{"worker": worker, **{key: row[key] for key in _TOLD}} for worker, row in rows]
        steps = [row["steps"][-1] for _, row in rows if row["phase"] == "preparing" and row["steps"]]
        said = steps[0] if steps else "no worker has it yet" if answers else _nobody(settings)
        if time.monotonic() >= until:
            raise SwitchboardError(f"{name} is not prepared in time: {escaped(said)}")
        shown.doing(f"{name}: {said}")
        await asyncio.sleep(POLL_S)


@app.command()
def logs(name: Name, as_json: AsJson = False) -> None:
    """Show what installing a server said last, and what its running children wrote to standard error last."""
    with ending_clearly():
        settings = configuration_context(None).settings
        answers = asyncio.run(_asked(settings))
        if not answers:
            raise SwitchboardError(_nobody(settings))
        found = [(answer["worker"], row) for answer in answers for row in _rows(answer, provider_name(name))]
        if not found:
            raise SwitchboardError(f"no running worker has a server {name!r}")
        if as_json:
            print_json([{"worker": worker, **{key: row[key] for key in _LOGGED}} for worker, row in found])
            return
        for worker, row in found:
            health = f"{row['phase']} {row['condition']}".strip()
            typer.echo(f"{worker}: {health}{': ' + row['reason'] if row['reason'] else ''}")
            for line in (*row["steps"], *row["stderr"]):
                typer.echo(f"  {line}")


async def _asked(settings: Settings, restart: str | None = None) -> list[Mapping[str, Any]]:
    if settings.state_url is None:
        return await ask_here(settings.port, restart=restart)
    async with fleet(settings) as state:
        return await ask(state, restart=restart)


def _nobody(settings: Settings) -> str:
    return nobody(settings.port) if settings.state_url is None else "no running worker answered through REDIS_URL"


def _rows(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [row for row in answer["servers"] if row["name"] == name]


def _document(name: str, section: ServerSection, answers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """A server as JSON."""
    return {
        "name": name,
        "valid": True,
        "called": provider_name(name),
        "source": section.source,
        "from": without_credentials(_WHERE[section.source](section)),
        "enabled": section.enabled,
        "tags": list(section.tags),
        "workers": [
            {"worker": answer["worker"], **{key: row[key] for key in _TOLD}}
            for answer in answers
            for row in _rows(answer, provider_name(name))
        ],
        "notes": _notes(provider_name(name), answers),
    }


def _print(found: Configuration, answers: list[Mapping[str, Any]]) -> None:
    rows = [
        (
            _called(name),
            section.source,
            without_credentials(_WHERE[section.source](section)),
            _state(provider_name(name), section, answers),
            ", ".join(section.tags),
        )
        for name, section in found.servers.items()
    ]
    broken = [(name, "", "", f"not valid: {row.reason}", "") for name, row in found.broken.items()]
    print_table(("name", "source", "from", "state", "tags"), [*rows, *broken])
    for name in found.servers:
        for note in _notes(provider_name(name), answers):
            typer.echo(f"{name}: {escaped(note)}")


def _state(name: str, section: ServerSection, answers: list[Mapping[str, Any]]) -> str:
    if not section.enabled:
        return "disabled"
    rows = [row for answer in answers for row in _rows(answer, name)]
    states = [row["condition"] if row["phase"] == "running" and row["condition"] else row["phase"] for row in rows]
    shown = [f"{state} ({states.count(state)})" if len(rows) > 1 else state for state in dict.fromkeys(states)]
    reasons = [f"{row['reason']}" for row in rows if row["reason"]]
    return ", ".join(shown) + (f": {reasons[0]}" if reasons else "")


def _notes(name: str, answers: list[Mapping[str, Any]]) -> list[str]:
    """What the workers say of its offer, each thing once."""
    rows = [row for answer in answers for row in _rows(answer, name)]
    return [*dict.fromkeys(note for row in rows for note in row.get("notes", ()))]


def _called(name: str) -> str:
    """The name as it is written, and how tools carry it where that differs."""
    return name if provider_name(name) == name else f"{name} ({provider_name(name)})"


def _launched(launch: list[str], source: str | None, at: str | None) -> dict[str, Any]:
    if source is not None:
        fields = {"npm": "package", "pypi": "package", "git": "repository", "docker": "image", "local": "path"}
        if source not in fields or at is None:
            raise ConfigurationError(f"--source is one of {', '.join(fields)}, and --from says what of it")
        return {"source": source, fields[source]: at, **({"args": launch} if launch else {})}
    if not launch:
        raise ConfigurationError("say what the server is: a URL, a command after `--`, or --source and --from")
    if launch[0].startswith(("http://", "https://")):
        return {"url": launch[0]}
    return {"command": launch[0], **({"args": launch[1:]} if launch[1:] else {})}


def _pairs(texts: list[str], separator: str, looks: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, middle, value = text.partition(separator)
        if not middle:
            raise ConfigurationError(f"{name!r} is not {looks}")
        found[name.strip()] = value.strip()
    return found


def _added(servers: dict[str, Any], name: str, row: dict[str, Any]) -> None:
    if name in servers:
        raise ConfigurationError(f"there is a server {name!r} already")
    servers[name] = row


def _known(servers: dict[str, Any], name: str) -> str:
    if name not in servers:
        raise ConfigurationError(f"the file has no server {name!r}; it has: {', '.join(servers) or 'none'}")
    return name


def _switch(name: str, config: Path | None, *, on: bool, as_json: bool) -> None:
    def change(servers: dict[str, Any]) -> None:
        row = servers[_known(servers, name)]
        row.pop("disabled", None)
        row["enabled"] = on

    with ending_clearly():
        _edited(config, change, name, "enabled" if on else "disabled", as_json=as_json)


def _edited(
    config: Path | None, change: Callable[[dict[str, Any]], object], name: str, done: str, *, as_json: bool
) -> None:
    here = configuration_context(config)

    def changed(document: dict[str, Any]) -> None:
        change(document.setdefault("mcpServers", {}))

    backup = edit(here.editable(), changed, here.variables)
    if as_json:
        print_json({"server": name, "done": done, "file": str(here.file), "backup": backup and str(backup)})
    else:
        typer.echo(f"{here.file}: {name} {done}{f'; backup: {backup}' if backup else ''}")


def _versioned(what: str | None, version: str | None, between: str) -> str:
    return f"{what}{between}{version}" if version else str(what)
