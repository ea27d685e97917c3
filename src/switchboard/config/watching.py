"""Noticing that the configuration changed: the file, or the fleet's overlay.

What is valid and different comes into force. What is not valid is said once, and the last good configuration stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import structlog
from watchfiles import Change, awatch

from switchboard.config.files import folder, layers, validated
from switchboard.config.layers import Layer, merged
from switchboard.config.model import Configuration
from switchboard.config.overlay import Layered, Overlay
from switchboard.config.redaction import shown
from switchboard.errors import ConfigurationError, StateUnavailable
from switchboard.telemetry.metrics import CONFIGURATION_RELOADS

log = structlog.get_logger(__name__)

QUIET_MS: Final = 150
"""A file counts as written once nothing changed for so long."""

LONGEST_MS: Final = 1600
"""Changes that never pause are looked at after so long."""

POLL_MS: Final = 2000
"""How often the file is looked at without a notice: not every file system gives one, and none at first."""

Apply = Callable[[Configuration], Awaitable[None]]


@dataclass(frozen=True)
class Written:
    """The layers of a configuration as they are written, read once."""

    layers: Sequence[Layer]
    variables: Mapping[str, str] = field(repr=False)
    base: Path
    """What relative paths are relative to."""

    @cached_property
    def configuration(self) -> Configuration:
        """What they make.

        Raises:
            ConfigurationError: something else than a server is wrong.
        """
        return validated(self.layers, self.variables, self.base)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The layers as one document."""
        return merged(self.layers)

    @cached_property
    def shown(self) -> dict[str, Any]:
        """The values that are in force, without a secret. Raises as `configuration`."""
        return shown(self.configuration, self.layers)


class WatchedConfiguration:
    """The configuration in force in this worker.

    Args:
        path: the file.
        variables: gives the environment as it is now.
        overlay: the fleet's.
        plugins: gives the names of plugins that are enabled unless a layer says otherwise.
    """

    def __init__(
        self,
        path: Path | None,
        variables: Callable[[], Mapping[str, str]],
        overlay: Overlay | None = None,
        plugins: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._path = path
        self._plugins = plugins
        self._variables = variables
        self._overlay = overlay
        self._changed = asyncio.Event()
        self._current = Configuration()
        self.problem: str | None = None
        """Why what is written now is not in force."""

    @property
    def current(self) -> Configuration:
        """What is in force."""
        return self._current

    def under(self, overlay: Layered) -> Written:
        """The configuration that there would be under this overlay, on this worker; reads the file.

        Raises:
            ConfigurationError: a layer cannot be read.
        """
        variables = self._variables()
        written = layers(self._path, variables, overlay=overlay.patches, plugins=self._plugins())
        return Written(written, variables, folder(self._path))

    async def load(self) -> Configuration:
        """Read everything for the first time.

        Raises:
            ConfigurationError: something is wrong; there is no earlier configuration to keep.
            StateUnavailable: the overlay cannot be read.
        """
        self._current = await self._read()
        self._tell(self._current, Configuration())
        return self._current

    def look(self) -> None:
        """Read everything again soon, whether or not a change was noticed."""
        self._changed.set()

    async def follow(self, apply: Apply) -> None:
        """Until cancelled: give `apply` each configuration that is to come into force; it may refuse with an error."""
        async with asyncio.TaskGroup() as tasks, self._overlay.watched(self.look) if self._overlay else nullcontext():
            if self._path is not None:
                tasks.create_task(self._watch_file(self._path))
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._look(apply)

    async def _look(self, apply: Apply) -> None:
        try:
            found = await self._read()
            kept = found.keeping(self._current)
            if kept != self._current:
                await apply(kept)
                CONFIGURATION_RELOADS.add("applied")
            self._tell(found, self._current)
            self._current = kept
        except StateUnavailable as error:
            CONFIGURATION_RELOADS.add("unread")
            log.warning("overlay.read_failed", reason=str(error))
            return
        except ConfigurationError as error:
            if str(error) != self.problem:
                CONFIGURATION_RELOADS.add("refused")
                log.error("configuration.refused", reason=str(error))
            self.problem = str(error)

    def _tell(self, found: Configuration, before: Configuration) -> None:
        for name, row in found.broken.items():
            if before.broken.get(name) != row:
                kept = name in before.servers
                log.error("server.row_refused", server=name, reason=row.reason, previous_row_kept=kept)
        self.problem = "\n".join(row.reason for row in found.broken.values()) or None

    async def _read(self) -> Configuration:
        overlay = await self._overlay.read() if self._overlay else Layered()
        return await asyncio.to_thread(lambda: self.under(overlay).configuration)

    async def _watch_file(self, path: Path) -> None:
        """Watches the folder: editors and orchestrators replace a file, or a link in its folder, instead of writing."""

        def concerns(_change: Change, changed: str) -> bool:
            name = Path(changed).name
            return name == path.name or name.startswith("..")

        seen = await asyncio.to_thread(_signature, path)
        self.look()
        async for changes in awatch(
            path.parent,
            watch_filter=concerns,
            debounce=LONGEST_MS,
            step=QUIET_MS,
            recursive=False,
            rust_timeout=POLL_MS,
            yield_on_timeout=True,
        ):
            found = await asyncio.to_thread(_signature, path)
            if changes or found != seen:
                seen = found
                self.look()


def _signature(path: Path) -> tuple[int, ...]:
    """Differs when the file does, as far as its folder tells."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
