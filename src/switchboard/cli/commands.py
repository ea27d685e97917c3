"""The commands and their options. Each is thin: it reads settings and calls the file that does the work."""

from __future__ import annotations

import importlib
import os
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from uvicorn.supervisors import ChangeReload

from switchboard import log as logs
from switchboard.cli import config_commands, presets_commands, servers_commands
from switchboard.cli.connect.command import connect
from switchboard.cli.doctor import doctor as examine
from switchboard.cli.ending import ending_clearly
from switchboard.cli.fleet import run_fleet
from switchboard.cli.login import obtain_token
from switchboard.cli.screen import show
from switchboard.cli.serving import run_worker, uvicorn_config
from switchboard.cli.settled import FileOption
from switchboard.cli.sockets import bind
from switchboard.process import shut
from switchboard.settings import Settings, load_settings

app = typer.Typer(
    name="switchboard",
    help="A remote MCP server that any number of workers serve behind one hostname.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(config_commands.app, name="config")
app.add_typer(servers_commands.app, name="servers")
app.add_typer(presets_commands.app, name="presets")


def main() -> None:
    """The entry point of the `switchboard` command."""
    shut()
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [PORT].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve the port [WORKERS].")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file [CONFIG_FILE].")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when the code changes.")] = False,
) -> None:
    """Serve MCP. Options win over the environment, and the environment over `.env`."""
    _to_environment({"HOST": host, "PORT": port, "WORKERS": workers, "CONFIG_FILE": config})
    with ending_clearly():
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format)
        raise typer.Exit(_serve(settings, reload=reload))


def _serve(settings: Settings, *, reload: bool) -> int:
    if reload:
        return _serve_reloading(settings)
    if settings.workers > 1:
        return run_fleet(settings, lambda: show(settings))
    return run_worker(settings, bind(settings.host, settings.port), lambda: show(settings))


def _serve_reloading(settings: Settings) -> int:
    package = str(Path(__file__).parents[1])
    config = uvicorn_config(
        "switchboard.cli.worker:reloaded", settings, factory=True, reload=True, reload_dirs=[package]
    )
    show(settings)
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=bind(settings.host, settings.port)).run()
    return 0


@app.command("auth-server")
def auth_server(
    host: Annotated[str | None, typer.Option(help="Address to listen on [AUTH_SERVER_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [AUTH_SERVER_PORT].")] = None,
) -> None:
    """Serve the authorization server on its own."""
    _to_environment({"AUTH_SERVER_HOST": host, "AUTH_SERVER_PORT": port})
    with ending_clearly():
        # By name: `switchboard` imports nothing of `auth_server` but in its composition root.
        importlib.import_module("auth_server.__main__").main()


@app.command()
def token(
    user: Annotated[str, typer.Option(help="Whom to sign in as at the fake identity provider.")] = "alice",
    scope: Annotated[str | None, typer.Option(help="Scopes, separated by spaces.")] = None,
    url: Annotated[str | None, typer.Option(help="The server, or with a path its endpoint [BASE_URI/mcp].")] = None,
) -> None:
    """Print an access token, got by the real flow: discovery, registration, PKCE, consent, sign-in."""
    with ending_clearly():
        target = url or load_settings().mcp_url
        typer.echo(obtain_token(target, user=user, scope=scope))


app.command()(connect)


@app.command()
def doctor(config: FileOption = None) -> None:
    """Check settings, configuration, programs, cache, Redis and running workers, and say what to mend."""
    raise typer.Exit(examine(config))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("mcp-switchboard"))


def _to_environment(options: dict[str, object]) -> None:
    """Options become environment, so that worker processes see them too."""
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
