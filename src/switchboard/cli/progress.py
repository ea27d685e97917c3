"""How far long work has come: a bar on standard error where that is a terminal; else nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from switchboard.cli.exit_codes import say
from switchboard.common.visible_text import excerpt


class Shown:
    """One piece of work, as it is shown. It can be told of from any thread.

    Args:
        bar: what draws it; none where nobody sees it.
    """

    def __init__(self, bar: Progress | None, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None) if bar is not None else None

    def at(self, done: int, of: int) -> None:
        """So much of it is done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=of)

    def doing(self, what: str) -> None:
        """What is done now."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=excerpt(what, 100))

    def say(self, message: str) -> None:
        """A line to the person, which stays; also where nothing else is shown."""
        if self._bar is None:
            say(message)
        else:
            self._bar.console.print(Text(f"switchboard: {message}"), soft_wrap=True)


@contextmanager
def progress(what: str) -> Iterator[Shown]:
    """Show work while it is done; nothing of it stays on the terminal."""
    if not sys.stderr.isatty():
        yield Shown(None, what)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        yield Shown(bar, what)
