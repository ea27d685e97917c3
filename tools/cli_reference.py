"""docs/cli.md, written from the commands themselves: `make reference` writes it anew."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from switchboard.cli.commands import COMMANDS, every_command
from switchboard.cli.exit_codes import MEANINGS, OF_COMMANDS
from switchboard.cli.output import WITHOUT_JSON

PAGE: Final = Path(__file__).parents[1] / "docs" / "cli.md"

HEAD: Final = """# The command line, command by command

Written from the code by `make reference`; a test compares it. [connect.md](connect.md) says what the commands for
clients and operators are for; [gateway.md](gateway.md), [vault.md](vault.md), [plugins.md](plugins.md) and
[lab.md](lab.md) those of their subjects.
"""

JSON: Final = """## JSON

With `--json` a command prints one JSON document on standard output, in one line of ASCII (`audit list`: a line for each
entry). What it says beside that, for people, goes to standard error. An error is JSON, too, the last line on standard
error:

```json
{"error": {"message": "there is no preset 'gone'; there are: few", "exit_code": 2}}
```

A command whose document says itself what failed, `doctor` for one, prints that and no error. All commands have `--json`
(it is left out below) but these:
"""


def page() -> str:
    """The whole page."""
    commands = dict(every_command())
    parts = [HEAD, _contents(commands), JSON, _without_json(), _codes()]
    for name, place in COMMANDS.items():
        below = {each: command for each, command in commands.items() if each.partition(" ")[0] == name}
        if name in below:
            parts += [f"## `switchboard {name}`\n", *_command(name, below[name])]
            continue
        group: typer.Typer = getattr(importlib.import_module(place.module), place.name)
        parts += [f"## `switchboard {name}`\n", f"{group.info.help}\n"]
        for each, command in below.items():
            parts += [f"### `switchboard {each}`\n", *_command(each, command)]
    return "\n".join(parts).rstrip() + "\n"


def _contents(commands: dict[str, Any]) -> str:
    rows = []
    for name, place in COMMANDS.items():
        below = [each.partition(" ")[2] for each in commands if each.startswith(f"{name} ")]
        rows.append(
            f"| [`{name}`](#switchboard-{name}) |{', '.join(f' `{each}`' for each in below)} | {place.purpose} |"
        )
    return "\n".join(["| command | | |", "|---|---|---|", *rows, ""])


def _without_json() -> str:
    return "\n".join([*(f"* `{name}`: {why}" for name, why in WITHOUT_JSON.items()), ""])


def _codes() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    lead = "What one of them means for a command in particular stands there.\n"
    return "\n".join(["## Exit codes\n", lead, "| code | |", "|---|---|", *rows, ""])


def _command(name: str, command: Any) -> Iterator[str]:
    """What it is for, how it is called, its parameters but `--json`, and what its exit codes mean in particular."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "as_json"]
    usage = " ".join(["switchboard", name, "[OPTIONS]", *map(_argument, arguments)])
    yield f"{_paragraphs(command.help)}\n"
    yield f"```text\n{usage}\n```\n"
    rows = [f"| `{_argument(each)}` | | {_cell(each.help)} |" for each in arguments]
    rows += [f"| `{_option(each)}` |{_default(each)} | {_said(each)} |" for each in options]
    if rows:
        yield "\n".join(["| | default | |", "|---|---|---|", *rows, ""])
    if name in OF_COMMANDS:
        yield f"Ends with {'; '.join(f'{code}: {said}' for code, said in OF_COMMANDS[name].items())}.\n"


def _paragraphs(text: str) -> str:
    """A docstring, without the sentence on exit codes, which are told from the table."""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    kept = [re.sub(r" ?\bEnds with \d[^.]*\.", "", each).strip() for each in paragraphs]
    return "\n\n".join(each for each in kept if each)


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = "`, `".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.opts[-1].lstrip('-').replace('-', '_').upper()}"


def _default(parameter: Any) -> str:
    value = parameter.default
    if value in (None, "", False):
        return ""
    if value is True:
        return f" `{parameter.opts[0]}`"
    return f" `{value:g}`" if isinstance(value, float) else f" `{value}`"


def _said(parameter: Any) -> str:
    said = _cell(parameter.help)
    kind = parameter.type_descriptor
    choices = f" One of {', '.join(f'`{each}`' for each in kind.choices)}." if kind.is_choice else ""
    variable = f" Else from `{parameter.envvar}`." if parameter.envvar else ""
    return f"{said}{choices}{variable}"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
