"""Following changes of the plugins folder: a plugin that came or went, and one whose code changed.

Only Python files count, and no tests: a plugin may keep other files beside its code. An editor writes a file in several
steps, so a change counts once nothing changed for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from watchfiles import Change, awatch

from switchboard.errors import ConfigurationError
from switchboard.plugins.discovery import PluginSources

log = structlog.get_logger(__name__)

QUIET_MS: Final = 150
LONGEST_MS: Final = 1600
"""As for the configuration file: a change counts after so long without another, and after so long anyway."""

POLL_MS: Final = 2000
"""How often the folder is looked at without a notice."""

ABSENT_S: Final = 1.0
"""How often a folder is looked for that is not there yet."""

Reload = Callable[[set[str]], Awaitable[object]]


async def follow_folder(sources: PluginSources, look: Callable[[], None], reload: Reload) -> None:
    """Until cancelled: tell of changes; returns at once where there is no folder to follow.

    Args:
        look: is called when a plugin may have come or gone.
        reload: is given the plugins whose code changed.
    """
    folder = sources.folder
    while folder is not None:
        if not await asyncio.to_thread(folder.is_dir):
            await asyncio.sleep(ABSENT_S)
            continue
        try:
            await _follow(folder, sources, look, reload)
        except OSError as error:  # it went meanwhile
            log.warning("plugins.folder_gone", reason=str(error))


async def _follow(folder: Path, sources: PluginSources, look: Callable[[], None], reload: Reload) -> None:
    known = set(await asyncio.to_thread(sources.in_folder))
    look()
    async for changes in awatch(
        folder, watch_filter=concerns, debounce=LONGEST_MS, step=QUIET_MS, rust_timeout=POLL_MS, yield_on_timeout=True
    ):
        try:
            found = set(await asyncio.to_thread(sources.in_folder))
            if found != known:
                look()
            changed = sources.concerned(path for _, path in changes) & known
            known = found
            if changed:
                await reload(changed)
        except ConfigurationError as error:
            log.error("plugins.reload_refused", reason=str(error))
        if not await asyncio.to_thread(folder.is_dir):
            return


def concerns(_change: Change, changed: str) -> bool:
    """Whether a changed file can be a plugin's code."""
    path = Path(changed)
    if path.name.startswith("test_") or path.name == "conftest.py" or "__pycache__" in path.parts:
        return False
    return path.suffix == ".py" or not path.suffix
