"""How a command ends: the table of exit codes, and one line on standard error for what a person can mend."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import typer

from switchboard.cli.output import json_is_asked
from switchboard.errors import ConfigurationError, SwitchboardError

DONE: Final = 0
FAILED: Final = 1
WRONG_SETTING: Final = 2
CANNOT_TELL: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM

MEANINGS: Final[Mapping[int, str]] = {
    DONE: "done",
    FAILED: "failed or refused: the message says what, and what to do",
    WRONG_SETTING: "an option, a setting or the configuration is wrong: it will not work without a change",
    CANNOT_TELL: "of a command whose 1 is an answer: the question could not be asked",
    INTERRUPTED: "interrupted (Ctrl-C)",
    TERMINATED: "told to end (SIGTERM) before it was done",
}
"""Every exit code there is."""

USUAL: Final = (DONE, FAILED, WRONG_SETTING, INTERRUPTED)
"""What every command may end with."""

_NO_LAB: Final = "there is no lab to ask"

OF_COMMANDS: Final[Mapping[str, Mapping[int, str]]] = {
    "serve": {DONE: "told to end, and ended in order", FAILED: "it could not go on"},
    "auth-server": {DONE: "told to end, and ended in order", FAILED: "it could not go on"},
    "connect": {FAILED: "the server never answered"},
    "call": {FAILED: "the tool or the server answered with an error"},
    "why": {DONE: "the call would come through", FAILED: "it is refused", CANNOT_TELL: "the server cannot be asked"},
    "wait": {DONE: "the server is ready", FAILED: "it is not in time"},
    "doctor": {FAILED: "a check failed; a warning is none"},
    "config check": {
        FAILED: "it is valid, but this machine lacks what a server needs",
        WRONG_SETTING: "it is not valid",
    },
    "servers wait": {FAILED: "a worker cannot prepare it, or they have not in time"},
    "search": {FAILED: "there is none"},
    "plugins list": {FAILED: "one has failed"},
    "credentials check": {FAILED: "it cannot be used"},
    "connections check": {FAILED: "the person is not connected, or has to connect again"},
    "vault status": {FAILED: "VAULT_KEYS does not decrypt all"},
    "vault rotate": {FAILED: "VAULT_KEYS did not decrypt all"},
    "vault restore": {FAILED: "the vault refused some"},
    "audit verify": {FAILED: "an entry was changed, put in or taken out"},
    "lab list": {CANNOT_TELL: _NO_LAB},
    "lab run": {
        DONE: "the client passed every scenario",
        FAILED: "it did not",
        CANNOT_TELL: _NO_LAB,
        TERMINATED: "told to end before all were run",
    },
    "lab report": {DONE: "the client passed every scenario", FAILED: "it did not", CANNOT_TELL: _NO_LAB},
}
"""By command, what its codes mean in particular."""

STOPPING: Final = "stopping once running requests have ended; Ctrl-C again ends it now"


class NoAnswer(SwitchboardError):
    """Whoever has the answer cannot be asked; of commands whose 1 is an answer."""


def codes(command: str) -> Mapping[int, str]:
    """What a command may end with: `codes("vault status")`."""
    return {**{code: MEANINGS[code] for code in USUAL}, **OF_COMMANDS.get(command, {})}


def known_cause(error: BaseException) -> SwitchboardError | None:
    """The error that Switchboard raised on purpose, also from inside a task group."""
    if isinstance(error, SwitchboardError):
        return error
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return known_cause(error.exceptions[0])
    return None


def exit_code(error: SwitchboardError) -> int:
    """2 for what is wrong with the settings: starting again without a change is no use."""
    if isinstance(error, NoAnswer):
        return CANNOT_TELL
    return WRONG_SETTING if isinstance(error, ConfigurationError) else FAILED


def say(message: str) -> None:
    """One line to the person at the terminal, not to the log."""
    typer.echo(f"switchboard: {message}", err=True)


def say_error(message: str, code: int) -> None:
    """Why the command ends with `code`: the last line on standard error, as JSON where that is asked for."""
    if json_is_asked():
        _say_json(message, code)
    else:
        say(message)


@contextmanager
def ending_clearly() -> Iterator[None]:
    """The boundary of a command."""
    try:
        yield
    except (SwitchboardError, BaseExceptionGroup) as error:
        cause = known_cause(error)
        if cause is None:
            raise
        say_error(str(cause), exit_code(cause))
        raise typer.Exit(exit_code(cause)) from None


@contextmanager
def refusing_clearly(arguments: Sequence[str]) -> Iterator[None]:
    """Around all commands: says as JSON, where that is asked for, what was wrong with options, or that it was declined.

    Args:
        arguments: of the command. Options that could not be read say nothing of `--json`.
    """
    try:
        yield
    except typer.TyperException as error:
        if not _has_json(arguments):
            raise
        _say_json(error.format_message(), error.exit_code)
        raise typer.Exit(error.exit_code) from None
    except typer.Abort:
        if not json_is_asked():
            raise
        if not sys.stdin.isatty():
            typer.echo(err=True)  # nobody's Enter ended the line of the question
        _say_json("declined: nothing was done", FAILED)
        raise typer.Exit(FAILED) from None


def _say_json(message: str, code: int) -> None:
    typer.echo(json.dumps({"error": {"message": message, "exit_code": code}}), err=True)


def _has_json(arguments: Sequence[str]) -> bool:
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours
