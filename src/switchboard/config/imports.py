"""Other files' shapes: a desktop client's, an editor's, and `servers: [{id, type, url, …}]` of other gateways.

Each becomes a document in our shape. Nothing is dropped silently: what has no place here is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from switchboard.config.servers import IGNORED, STRATEGIES, ServerSection, SourceKind, in_our_words
from switchboard.errors import ConfigurationError


@dataclass
class Imported:
    """What came of a file."""

    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """In our shape, ready for `mcpServers`."""

    left_out: list[str] = field(default_factory=list)
    """What has no place here, a line each."""


def imported(document: Mapping[str, Any]) -> Imported:
    """What a document of another program says about servers.

    Raises:
        ConfigurationError: it has no servers in a shape that is known.
    """
    result = Imported()
    for key in ("mcpServers", "servers", "mcp_servers", "context_servers"):
        servers = document.get(key)
        if isinstance(servers, Mapping):
            for name, row in servers.items():
                _add(result, name, row, _desktop_row)
            break
        if isinstance(servers, list):
            for index, row in enumerate(servers):
                _add(result, _identity(row, index), row, _listed_row)
            break
    else:
        raise ConfigurationError("no servers found: neither 'mcpServers' nor 'servers' is there")
    result.left_out.extend(f"{key}: not about servers" for key in document if document[key] is not servers)
    return result


def _identity(row: Any, index: int) -> str:
    found = (row.get("id") or row.get("name")) if isinstance(row, Mapping) else None
    return str(found or f"server-{index + 1}")


def _add(result: Imported, name: str, row: Any, shaped: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if not isinstance(row, Mapping):
        result.left_out.append(f"{name}: is not an object")
        return
    try:
        own = shaped({key: value for key, value in row.items() if key not in IGNORED})
    except ValueError as error:
        result.left_out.append(f"{name}: {error}")
        return
    foreign = [key for key in own if key not in _FIELDS]
    result.left_out.extend(f"{name}.{key}: has no place here" for key in foreign)
    kept = {key: value for key, value in own.items() if key in _FIELDS}
    if kept.get("source") in ("command", "url"):
        del kept["source"]
    result.servers[name] = kept


_FIELDS = frozenset(ServerSection.model_fields) | {"type"}


def _desktop_row(row: dict[str, Any]) -> dict[str, Any]:
    own = in_our_words(row)
    if isinstance(own.get("command"), list):  # the program and its arguments in one list
        program, *arguments = own["command"] or [""]
        own = {**own, "command": program, "args": [*arguments, *own.get("args", [])]}
    if isinstance(own.get("environment"), Mapping) and "env" not in own:
        own["env"] = own.pop("environment")
    if own.get("type") in ("local", "remote"):
        del own["type"]
    return own


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


def _listed_row(row: dict[str, Any]) -> dict[str, Any]:
    stated = str(row.get("type") or row.get("source") or _guessed(row))
    kind = _KINDS.get(stated.lower())
    if kind is None:
        raise ConfigurationError(f"{row.get('id', 'a server')}: the type {stated!r} is not known")
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
    return in_our_words(own)


_MOVED = ("url", "package", "path", "image", "repository", "repo", "command")


def _guessed(row: Mapping[str, Any]) -> str:
    for key, kind in (("command", "command"), ("package", "npm"), ("image", "docker"), ("repository", "git")):
        if row.get(key):
            return kind
    return "url" if row.get("url") else "local"
