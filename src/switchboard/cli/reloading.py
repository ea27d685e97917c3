"""`serve --reload`: a worker that starts again whenever code changes: Switchboard's, or a plugin's."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import uvicorn
from uvicorn.supervisors import ChangeReload

from switchboard.cli.banner import show
from switchboard.cli.serving import uvicorn_config
from switchboard.cli.sockets import bind
from switchboard.plugins import ENTRY_POINTS
from switchboard.settings import Settings


def serve_reloading(settings: Settings) -> int:
    """Serve until a signal says stop; the exit code."""
    config = uvicorn_config(
        "switchboard.cli.worker:reloaded",
        settings,
        factory=True,
        reload=True,
        reload_dirs=[str(folder) for folder in watched()],
    )
    show(settings)
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=bind(settings.host, settings.port)).run()
    return 0


def watched() -> list[Path]:
    """The folders of Switchboard's code and of the plugins that are installed to be edited. Nothing is imported."""
    edited = (folder for folder in _plugins() if not {"site-packages", "dist-packages"} & set(folder.parts))
    return sorted({Path(__file__).parents[1], *edited})


def _plugins() -> Iterator[Path]:
    for point in entry_points(group=ENTRY_POINTS):
        found = importlib.util.find_spec(point.module.split(".")[0])
        if found is None:  # told when the plugin is loaded
            continue
        if found.submodule_search_locations:
            yield from (Path(folder) for folder in found.submodule_search_locations)
        elif found.origin:
            yield Path(found.origin).parent
