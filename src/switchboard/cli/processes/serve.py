"""`switchboard serve` and `switchboard auth-server`: settings are read, and the file that does the work is called."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from uvicorn.supervisors import ChangeReload

from switchboard import log as logs
from switchboard.cli.exit_codes import DONE, ending_clearly
from switchboard.cli.processes.banner import show
from switchboard.cli.processes.serving import run_worker, uvicorn_config
from switchboard.cli.processes.sockets import bind
from switchboard.cli.processes.supervisor import run_fleet
from switchboard.config.model import ENTRY_POINTS
from switchboard.settings import Settings, load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [PORT].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve the port [WORKERS].")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file [CONFIG_FILE].")] = None,
    plugins: Annotated[Path | None, typer.Option(help="Folder with plugins of your own [PLUGINS_DIR].")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when the code changes, plugins' too.")] = False,
) -> None:
    """Serve MCP. Options win over the environment, and the environment over `.env`."""
    _to_environment({"HOST": host, "PORT": port, "WORKERS": workers, "CONFIG_FILE": config, "PLUGINS_DIR": plugins})
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


def serve_reloading(settings: Settings) -> int:
    """Serve until a signal says stop; the exit code."""
    config = uvicorn_config(
        "switchboard.cli.processes.worker:reloaded",
        settings,
        factory=True,
        reload=True,
        reload_dirs=[str(folder) for folder in watched()],
    )
    show(settings)
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=bind(settings.host, settings.port)).run()
    return DONE


def watched() -> list[Path]:
    """The folders of Switchboard's code and of the plugins that are installed to be edited. Nothing is imported."""
    edited = (folder for folder in _plugins() if not {"site-packages", "dist-packages"} & set(folder.parts))
    return sorted({Path(__file__).parents[2], *edited})


def _plugins() -> Iterator[Path]:
    for point in entry_points(group=ENTRY_POINTS):
        found = importlib.util.find_spec(point.module.split(".")[0])
        if found is None:  # told when the plugin is loaded
            continue
        if found.submodule_search_locations:
            yield from (Path(folder) for folder in found.submodule_search_locations)
        elif found.origin:
            yield Path(found.origin).parent
