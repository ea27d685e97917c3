"""A row about a server in the words of another program, turned into ours.

What programs write was read from their documentation: Claude Desktop and Code, Cursor, VS Code, Windsurf, Roo, Cline,
Zed, Codex, Gemini, opencode, Goose, Continue, and others that use one of these shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from switchboard.config.expansion import input_variable

Row = dict[str, Any]

RENAMED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("serverUrl", "httpUrl", "uri", "baseUrl", "endpoint"), "url"),
    **dict.fromkeys(("environment", "envs"), "env"),
    **dict.fromkeys(("http_headers", "httpHeaders"), "headers"),
    **dict.fromkeys(("working_directory", "workingDirectory", "cwdPath"), "cwd"),
    **dict.fromkeys(("transportType", "transport"), "type"),
    **dict.fromkeys(("isActive", "active", "start_on_launch"), "enabled"),
    "cmd": "command",
    "envFile": "env_file",
    "tool_timeout_sec": "timeout",
    "startup_timeout_sec": "start_timeout",
}
"""What others call a field → what we call it, where nothing but the name differs."""

MILLISECONDS: Final[Mapping[str, str]] = {
    "startup_timeout_ms": "start_timeout",
    "initTimeout": "start_timeout",
    "connectionTimeout": "start_timeout",
}
"""Fields that always count milliseconds → ours, which count seconds."""

SECONDS: Final = frozenset({"alwaysAllow", "autoApprove", "watchPaths", "bundled", "env_keys", "envs", "env_vars"})
"""Keys of programs whose `timeout` counts seconds, so that a large one is believed."""

LONGEST_S: Final = 10_000
"""What counts milliseconds after all."""

NOT_SERVERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ws", "websocket"), "it is reached over WebSocket, which the gateway does not speak to backends"),
    **dict.fromkeys(
        ("builtin", "platform", "frontend", "inline_python", "extension", "sdk"),
        "it is a part of that program, and no server that can be started or reached",
    ),
}
"""A row's type → why there is no such server here."""


_TYPES: Final = {"stdio": "stdio", "sse": "sse", "http": "http", "streamable": "http"}
"""A row's type in small letters → ours, where the row may write it otherwise."""


class NotAServer(ValueError):
    """The row has no counterpart here; the message says why."""


@dataclass
class Notes:
    """What a person should know of a row that was taken over."""

    left_out: list[str] = field(default_factory=list)
    """Keys that have no place here."""

    hints: list[str] = field(default_factory=list)
    """What was read in a certain way, and what is to be set."""


@dataclass(frozen=True)
class Origin:
    """Of which file a row is."""

    folder: Path
    """What relative paths in it are relative to."""

    workspace: Path | None = None
    """What editors call the workspace's folder, where the file's place tells."""

    gemini: bool = False
    """Whether the file is Gemini's: there `$NAME` is a reference, and a `url` speaks SSE unless a type is given."""

    milliseconds: bool | None = None
    """Whether `timeout` counts them; by its size where that is not known."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """What an editor asks a person for: id → description."""


def our_row(row: Mapping[str, Any], origin: Origin, notes: Notes) -> Row:
    """The row in our words. Keys that are not ours are still in it.

    Raises:
        NotAServer: it describes something else.
    """
    own: Row = {key: value for key, value in row.items() if value is not None}
    if own.get("source") in ("custom", "extension"):  # as Zed writes
        own.setdefault("type", own.pop("source"))
    if origin.gemini and "url" in own:
        own.setdefault("type", "sse")
    seconds = bool(SECONDS & own.keys())
    for step in (_typed, _commanded, _named, _with_credentials):
        own = step(own, notes)
    own = _timed(own, origin, notes, seconds=seconds)
    own = {key: _referring(value, key, origin, notes) for key, value in own.items()}
    if "env_file" in own:
        own["env_file"] = str(origin.folder / Path(str(own["env_file"])).expanduser())
    return own


def _typed(own: Row, _notes: Notes) -> Row:
    if isinstance(inside := own.get("transport"), Mapping):  # all of it stands in there
        own = {**{key: value for key, value in own.items() if key != "transport"}, **inside}
    for key in ("type", "transport", "transportType"):
        if isinstance(own.get(key), str):
            own[key] = _TYPES.get(own[key].lower(), own[key])
    kind = own.get("type", own.get("transport", own.get("transportType")))
    if isinstance(kind, str) and kind.lower() in NOT_SERVERS:
        raise NotAServer(NOT_SERVERS[kind.lower()])
    if str(kind).lower() in ("local", "remote", "custom"):
        return {key: value for key, value in own.items() if key not in ("type", "transport", "transportType")}
    return own


def _commanded(own: Row, _notes: Notes) -> Row:
    """One program and its arguments, where they stand in a list or an object."""
    command = own.get("command")
    if isinstance(command, list) and command:
        if not isinstance(more := own.get("args", []), list):
            raise NotAServer("args must be a list")
        return {**own, "command": command[0], "args": [*command[1:], *more]}
    if isinstance(command, Mapping):
        inside = {("command" if key == "path" else key): value for key, value in command.items()}
        return {**{key: value for key, value in own.items() if key != "command"}, **inside}
    return own


def _named(own: Row, _notes: Notes) -> Row:
    if isinstance(own.get("disabled"), bool) and "enabled" not in own:
        own = {**own, "enabled": not own["disabled"]}
        del own["disabled"]
    for options in ("requestOptions", "requestInit"):
        requests = own.get(options)
        if isinstance(requests, Mapping) and isinstance(requests.get("headers"), Mapping):
            own = {**own, "headers": {**requests["headers"], **_named_values(own, "headers")}}
            rest = {key: value for key, value in requests.items() if key != "headers"}
            own = {key: value for key, value in {**own, options: rest}.items() if key != options or rest}
    return {(RENAMED[key] if key in RENAMED and RENAMED[key] not in own else key): value for key, value in own.items()}


def _with_credentials(own: Row, notes: Notes) -> Row:
    """Variables and headers that are named elsewhere in the row."""
    own = dict(own)
    env, headers = _named_values(own, "env"), _named_values(own, "headers")
    for key in ("env_keys", "env_vars"):
        for each in own.pop(key, ()) or ():
            name = each.get("name") if isinstance(each, Mapping) else each
            env.setdefault(str(name), f"${{{name}}}")
            notes.hints.append(f"set the variable {name}")
    if variable := own.pop("bearer_token_env_var", None):
        headers["Authorization"] = f"Bearer ${{{variable}}}"
        notes.hints.append(f"set the variable {variable}")
    named = _named_values(own, "env_http_headers")
    own.pop("env_http_headers", None)
    for header, variable in named.items():
        headers[header] = f"${{{variable}}}"
        notes.hints.append(f"set the variable {variable}")
    if "url" in own and isinstance(own.get("apiKey"), str):
        headers.setdefault("Authorization", f"Bearer {own.pop('apiKey')}")
    for key, value in (("env", env), ("headers", headers)):
        if value or key in own:
            own[key] = value
    return own


def _named_values(own: Mapping[str, Any], key: str) -> Row:
    """Variables or headers, which some write as a list: of `NAME=value`, `Name: value`, or objects with both.

    Raises:
        NotAServer: they are something else.
    """
    given = own.get(key) or {}
    if isinstance(given, Mapping):
        return dict(given)
    found: Row = {}
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, Mapping) and isinstance(each.get("name"), str) and "value" in each:
            found[each["name"]] = each["value"]
        elif isinstance(each, str) and (parts := _NAMED_VALUE.fullmatch(each)):
            found[parts["name"]] = parts["value"]
        else:
            raise NotAServer(f"{key} must be an object: name and value")
    return found


_NAMED_VALUE: Final = re.compile(r"(?P<name>[^\s=:]+)\s*[=:]\s*(?P<value>.*)", re.DOTALL)


def _timed(own: Row, origin: Origin, notes: Notes, *, seconds: bool) -> Row:
    own = dict(own)
    for theirs, ours in MILLISECONDS.items():
        if isinstance(own.get(theirs), int | float):
            own.setdefault(ours, own[theirs] / 1000)
            del own[theirs]
    timeout = own.get("timeout")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        return own
    if timeout <= 0:
        notes.left_out.append(f"timeout: {timeout} is no time")
        del own["timeout"]
    elif origin.milliseconds or (origin.milliseconds is None and timeout >= (LONGEST_S if seconds else 1000)):
        own["timeout"] = timeout / 1000
        notes.hints.append(f"timeout {timeout} was read as milliseconds: {timeout / 1000:g} s")
    return own


# -- references to variables -----------------------------------------------------------------------------------------

_FOREIGN: Final = re.compile(
    r"\$\{\{\s*secrets\.(?P<secret>[A-Za-z_]\w*)\s*\}\}"  # Continue
    r"|(?<!\$)\{env:(?P<env>[A-Za-z_]\w*)\}"  # opencode
    r"|(?<!\$)\{file:(?P<file>[^}]+)\}"  # opencode
    r"|\$\{input:(?P<input>[^}]+)\}"  # VS Code
    r"|\$\{(?P<workspace>workspaceFolder|workspaceRoot|workspaceFolderBasename)\}"
)
_AS_WRITTEN: Final = re.compile(r"(?<![\w$])\$(?:\([^)]*\)|[A-Z_][A-Z0-9_]*\b)|(?<!\$)\{\{\s*[\w.]+\s*\}\}")
"""What other programs replace: `$NAME`, `$(command)`, `{{NAME}}`."""

_DOLLAR: Final = re.compile(r"\$(?=([A-Za-z_]\w*))\1")


def _referring(value: Any, key: str, origin: Origin, notes: Notes) -> Any:
    """`value` with the references of other programs as ours."""
    if isinstance(value, Mapping):
        return {name: _referring(member, name, origin, notes) for name, member in value.items()}
    if isinstance(value, list):
        return [_referring(member, key, origin, notes) for member in value]
    if not isinstance(value, str):
        return value
    text = _FOREIGN.sub(lambda found: _ours(found, key, origin, notes), value)
    if origin.gemini:
        return _DOLLAR.sub(r"${\1}", text)
    if kept := _AS_WRITTEN.search(text):
        notes.hints.append(f"{key}: {kept[0]} is handed on as it is written; a variable is written ${{NAME}}")
    return text


def _ours(found: re.Match[str], key: str, origin: Origin, notes: Notes) -> str:
    if workspace := found["workspace"]:
        if origin.workspace is None:
            return found[0]
        return origin.workspace.name if workspace.endswith("Basename") else str(origin.workspace)
    if asked := found["input"]:
        about = origin.inputs.get(asked, "")
        name, why = input_variable(asked), f", which the editor asked for{f': {about}' if about else ''}"
    elif file := found["file"]:
        name, why = input_variable(key), f" to what {file} holds"
    else:
        name, why = found["secret"] or found["env"], ""
    notes.hints.append(f"set the variable {name}{why}")
    return f"${{{name}}}"
