"""How a command ends badly: one line on standard error and an exit code; no traceback for what a person can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from switchboard.errors import ConfigurationError, SwitchboardError

WRONG_SETTING = 2
FAILED = 1
CANNOT_TELL = 3
"""Of commands whose 1 is an answer: the question could not be asked."""

STOPPING = "stopping once running requests have ended; Ctrl-C again ends it now"


def known_cause(error: BaseException) -> SwitchboardError | None:
    """The error that Switchboard raised on purpose, also from inside a task group."""
    if isinstance(error, SwitchboardError):
        return error
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return known_cause(error.exceptions[0])
    return None


def exit_code(error: SwitchboardError) -> int:
    """2 for what is wrong with the settings: starting again without a change is no use."""
    return WRONG_SETTING if isinstance(error, ConfigurationError) else FAILED


def say(message: str) -> None:
    """One line to the person at the terminal, not to the log."""
    typer.echo(f"switchboard: {message}", err=True)


@contextmanager
def ending_clearly() -> Iterator[None]:
    """The boundary of a command."""
    try:
        yield
    except (SwitchboardError, BaseExceptionGroup) as error:
        cause = known_cause(error)
        if cause is None:
            raise
        say(str(cause))
        raise typer.Exit(exit_code(cause)) from None
