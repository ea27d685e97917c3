"""`switchboard serve` and `switchboard auth-server`: settings are read, and the file that does the work is called."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer

from switchboard import log as logs
from switchboard.cli.banner import show
from switchboard.cli.exit_codes import ending_clearly
from switchboard.cli.reloading import serve_reloading
from switchboard.cli.serving import run_worker
from switchboard.cli.sockets import bind
from switchboard.cli.supervisor import run_fleet
from switchboard.settings import Settings, load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [PORT].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve the port [WORKERS].")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file [CONFIG_FILE].")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when the code changes, plugins' too.")] = False,
) -> None:
    """Serve MCP. Options win over the environment, and the environment over `.env`."""
    _to_environment({"HOST": host, "PORT": port, "WORKERS": workers, "CONFIG_FILE": config})
    with ending_clearly():
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format)
        raise typer.Exit(_serve(settings, reload=reload))


def _serve(settings: Settings, *, reload: bool) -> int:
    if reload:
        return serve_reloading(settings)
    if settings.workers > 1:
        return run_fleet(settings, lambda: show(settings))
    return run_worker(settings, bind(settings.host, settings.port), lambda: show(settings))


def auth_server(
    host: Annotated[str | None, typer.Option(help="Address to listen on [AUTH_SERVER_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [AUTH_SERVER_PORT].")] = None,
) -> None:
    """Serve the authorization server on its own."""
    _to_environment({"AUTH_SERVER_HOST": host, "AUTH_SERVER_PORT": port})
    with ending_clearly():
        # By name: `switchboard` imports nothing of `auth_server` but in its composition root.
        importlib.import_module("auth_server.__main__").main()


def _to_environment(options: dict[str, object]) -> None:
    """Options become environment, so that worker processes see them too."""
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
