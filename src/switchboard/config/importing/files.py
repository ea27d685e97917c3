"""Servers from another program's file: a desktop client's, an editor's, an agent's, or another gateway's.

Each row is taken by itself. Nothing is dropped silently: what has no place here is reported, and so is what is to be
set or looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from switchboard.config.auth import STRATEGIES
from switchboard.config.complaints import complaints
from switchboard.config.expansion import UnresolvedReference, expanded, is_editors_own
from switchboard.config.importing.rows import NotAServer, Notes, Origin, Row, our_row
from switchboard.config.layers import Layer
from switchboard.config.model import SERVER_NAME, provider_name
from switchboard.config.redaction import secrets_in_clear
from switchboard.config.servers import (
    IGNORED,
    NEEDS,
    ServerSection,
    SourceKind,
    foreign_fields,
    normalized,
)
from switchboard.errors import ConfigurationError


@dataclass
class Imported:
    """What came of a file."""

    servers: dict[str, Row] = field(default_factory=dict)
    """In our shape, ready for `mcpServers`."""

    left_out: list[str] = field(default_factory=list)
    """What has no place here, a line each."""

    hints: list[str] = field(default_factory=list)
    """What to set, and what to look at, a line each."""


def imported(document: Mapping[str, Any], path: Path = Path()) -> Imported:
    """What a document of another program says about servers.

    Args:
        document: its content.
        path: where the file is: relative paths and an editor's workspace are told from it.

    Raises:
        ConfigurationError: it has no servers in a shape that is known.
    """
    result = Imported()
    containers = list(_containers(document))
    if not containers:
        raise ConfigurationError(f"no servers found: there is none of {', '.join(map(repr, _KEYS))}")
    origin = _origin(document, path)
    for _, rows in containers:
        for name, row, shape in _rows(rows):
            _add(result, name, row, shape, origin)
    _switch(result, document)
    read = {key for key, _ in containers} | _SWITCHES | {"inputs", "$schema"}
    if rest := [key for key in document if key not in read]:
        result.left_out.append(f"not about servers: {', '.join(rest)}")
    return result


# -- where servers stand ----------------------------------------------------------------------------------------------

_KEYS: Final = ("mcpServers", "servers", "mcp_servers", "context_servers", "mcp", "extensions", "amp.mcpServers")
_SWITCHES: Final = frozenset({"mcp", "tools", "allowMCPServers", "excludeMCPServers"})


def _containers(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each key of the document with servers beneath it, and the rows there."""
    for key in _KEYS:
        found = document.get(key)
        if isinstance(found, Mapping) and isinstance(found.get("servers"), Mapping) and key == "mcp":
            found = found["servers"]
        if key in ("mcp", "extensions") and isinstance(found, Mapping):
            found = {name: row for name, row in found.items() if isinstance(row, Mapping)}
        if key in ("mcp", "extensions") and not found:
            continue
        if isinstance(found, Mapping | list):
            yield key, found
    projects = document.get("projects")
    for project in projects.values() if isinstance(projects, Mapping) else ():
        if isinstance(project, Mapping) and isinstance(project.get("mcpServers"), Mapping) and project["mcpServers"]:
            yield "projects", project["mcpServers"]
    experimental = document.get("experimental")
    listed = experimental.get("modelContextProtocolServers") if isinstance(experimental, Mapping) else None
    if isinstance(listed, list):
        yield "experimental", [row.get("transport", row) if isinstance(row, Mapping) else row for row in listed]


def _rows(rows: Any) -> Iterator[tuple[str, Any, Callable[[Row], Row]]]:
    if isinstance(rows, Mapping):
        yield from ((str(name), row, dict) for name, row in rows.items())
        return
    for index, row in enumerate(rows):
        named = (row.get("id") or row.get("name")) if isinstance(row, Mapping) else None
        yield str(named or f"server-{index + 1}"), row, _listed_row


_GEMINI: Final = frozenset({"includeTools", "excludeTools", "trust", "httpUrl", "authProviderType"})


def _origin(document: Mapping[str, Any], path: Path) -> Origin:
    folder = path.absolute().parent
    gemini = ".gemini" in folder.parts or any(
        isinstance(row, Mapping) and _GEMINI & row.keys()
        for _, rows in _containers(document)
        for _, row, _ in _rows(rows)
    )
    opencode = any(
        isinstance(row, Mapping) and row.get("type") in ("local", "remote")
        for key, rows in _containers(document)
        for _, row, _ in _rows(rows)
        if key == "mcp"
    )
    in_milliseconds = gemini or opencode or "projects" in document or path.name == ".mcp.json"
    workspace = folder.parent if folder.name in (".vscode", ".cursor", ".roo", ".kiro") else None
    if path.name == ".mcp.json":
        workspace = folder
    asked = document.get("inputs")
    inputs = {
        str(each.get("id")): str(each.get("description", ""))
        for each in (asked if isinstance(asked, list) else [])
        if isinstance(each, Mapping)
    }
    return Origin(folder, workspace, gemini, True if in_milliseconds else None, inputs)


# -- a row -----------------------------------------------------------------------------------------------------------


def _add(result: Imported, name: str, row: Any, shape: Callable[[Row], Row], origin: Origin) -> None:
    notes = Notes()
    try:
        if not isinstance(row, Mapping):
            raise NotAServer("is not an object")
        same_name = {key: value for key, value in row.items() if key != "name" or value != name}
        kept = _kept(our_row(shape(same_name), origin, notes), notes)
        _checked(name, kept)
        if (called := provider_name(name)) in {provider_name(other) for other in result.servers}:
            raise NotAServer(f"there is another server called {called!r} in the file")
    except NotAServer as error:
        result.left_out.append(f"{name}: {error}")
        return
    except (TypeError, AttributeError, ValueError):  # one row is no reason to refuse the others
        result.left_out.append(f"{name}: a value in it has a shape that is not understood")
        return
    result.servers[name] = kept
    result.left_out.extend(f"{name}.{each}" for each in notes.left_out)
    result.hints.extend(f"{name}: {each}" for each in dict.fromkeys(notes.hints))
    result.hints.extend(
        f"{name}.{'.'.join(map(str, place))}: a secret in clear; write ${{{variable}}} and set that variable"
        for place, variable in secrets_in_clear(kept)
    )


_FIELDS: Final = frozenset(ServerSection.model_fields) | {"type"}


def _kept(own: Row, notes: Notes) -> Row:
    notes.left_out.extend(f"{key}: is that program's own, and without an effect here" for key in own if key in IGNORED)
    try:
        own = normalized(own)
    except ValueError as error:
        raise NotAServer(str(error)) from None
    known = _FIELDS - foreign_fields(own["source"]) if own["source"] in NEEDS else _FIELDS
    if not (isinstance(own.get("auth"), Mapping) and "strategy" in own["auth"]):
        known -= {"auth"}
    notes.left_out.extend(f"{key}: has no place here" for key in own if key not in known)
    kept = {key: value for key, value in own.items() if key in known}
    if kept.get("source") in ("command", "url"):
        del kept["source"]
    return kept


class _Anything(dict[str, str]):
    """Variables of which each is set that a person can set: whoever imports a file does so later."""

    def get(self, name: str, _default: object = None) -> str | None:  # type: ignore[override]
        return None if is_editors_own(name) else "x"


def _checked(name: str, row: Row) -> None:
    """Raise what is wrong with the row whatever its variables will be.

    Raises:
        NotAServer: with the reason.
    """
    try:
        SERVER_NAME.validate_python(name)
    except ValidationError:
        raise NotAServer("the name must be a text of 1 to 64 characters on one line") from None
    try:
        resolved = expanded(row, _Anything())
        ServerSection.model_validate(resolved)
    except UnresolvedReference as error:
        raise NotAServer(str(error)) from None
    except ValidationError as error:
        if resolved != row:  # what a variable stands for may be right
            return
        layer = Layer("", {"mcpServers": {name: row}})
        lines = complaints([layer], error, ServerSection, ("mcpServers", name))
        raise NotAServer("; ".join(line.removeprefix(f": mcpServers.{name}").lstrip(".: ") for line in lines)) from None


# -- lists of other gateways -----------------------------------------------------------------------------------------

_KINDS: Mapping[str, SourceKind] = {
    **{kind: kind for kind in get_args(SourceKind)},
    **dict.fromkeys(("stdio", "process", "executable"), "command"),
    **dict.fromkeys(("http", "https", "remote", "sse", "streamable-http", "streamable_http"), "url"),
    **dict.fromkeys(("node", "npx"), "npm"),
    **dict.fromkeys(("python", "pip", "uvx"), "pypi"),
    **dict.fromkeys(("github", "gitlab", "git-repo"), "git"),
    **dict.fromkeys(("container", "oci"), "docker"),
    **dict.fromkeys(("file", "path", "folder"), "local"),
}
"""What other gateways call a kind of source → ours."""

_TARGETS: Mapping[SourceKind, str] = {
    "url": "url", "git": "repository", "local": "path", "docker": "image", "npm": "package", "pypi": "package",
    "command": "command",
}  # fmt: skip
"""Kind of source → the field that `url`, `package`, `path` or `image` of a listed row means there."""

_MOVED = ("url", "package", "path", "image", "repository", "repo", "command")


def _listed_row(row: Row) -> Row:
    stated = str(row.get("type") or row.get("source") or _guessed(row))
    kind = _KINDS.get(stated.lower())
    if kind is None:
        raise NotAServer(f"the type {stated!r} is not known")
    own = {key: value for key, value in row.items() if key not in ("id", "name", "type", "source", *_MOVED)}
    own["source"] = kind
    target = next((row[key] for key in (_TARGETS[kind], *_MOVED) if row.get(key)), None)
    if target is not None:
        own[_TARGETS[kind]] = target
    if kind == "url" and stated.lower() == "sse":
        own["type"] = "sse"
    if "auth_strategy" in own:
        strategy = own.pop("auth_strategy")
        own["auth"] = {"strategy": STRATEGIES.get(strategy, strategy), **own.pop("auth_config", {})}
    return own


def _guessed(row: Row) -> str:
    for key, kind in (("command", "command"), ("package", "npm"), ("image", "docker"), ("repository", "git")):
        if row.get(key):
            return kind
    return "url" if row.get("url") else "local"


# -- what is switched off beside the rows -----------------------------------------------------------------------------


def _switch(result: Imported, document: Mapping[str, Any]) -> None:
    """Gemini's lists of servers, and opencode's of tools: what they switch off stays off."""
    lists = document["mcp"] if isinstance(document.get("mcp"), Mapping) else {}
    wanted, unwanted = (
        document.get(old) or lists.get(new)
        for old, new in (("allowMCPServers", "allowed"), ("excludeMCPServers", "excluded"))
    )
    for name, row in result.servers.items():
        if (isinstance(wanted, list) and name not in wanted) or (isinstance(unwanted, list) and name in unwanted):
            row["enabled"] = False
    tools = document.get("tools")
    for pattern, on in tools.items() if isinstance(tools, Mapping) else ():
        if on is False:
            _deny(result, str(pattern))


def _deny(result: Imported, pattern: str) -> None:
    for name, row in result.servers.items():
        if pattern in (name, f"{name}*") or pattern.startswith(f"{name}_"):
            rest = pattern.removeprefix(name).removeprefix("_")
            row["deny"] = [*row.get("deny", []), f"tools:{rest if rest.strip('*') else '*'}"]
            return
    result.left_out.append(f"tools.{pattern}: is off, but of none of the servers")
