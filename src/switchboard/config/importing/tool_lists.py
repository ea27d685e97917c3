"""Lists of tools in rows of other programs, as `allow` and `deny`: what is switched off there stays off here.

The names are the server's own, and patterns where the other program takes patterns. A list that cannot be understood is
a mistake, never nothing: a tool that somebody switched off must not come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ALL_IF_EMPTY: Final = ("availableTools", "available_tools")
"""Keys with all that is offered, and with everything where the list is empty."""

OFF: Final = (
    "disabledTools", "disabled_tools", "disabled-tools", "excludeTools", "exclude_tools", "excludedTools",
    "excluded_tools", "disallowedTools", "disallowed_tools", "deniedTools", "denied_tools", "blockedTools",
    "blocked_tools",
)  # fmt: skip
"""Keys with what is never offered."""

ON: Final = (
    "enabledTools", "enabled_tools", "enabled-tools", "includeTools", "include_tools", "includedTools",
    "included_tools", "allowedTools", "allowed_tools",
)  # fmt: skip
"""Keys with all that is offered."""


def joined_tool_lists(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with such lists joined to its own `allow` and `deny`.

    Raises:
        ValueError: naming a list that is none.
    """
    own = {key: value for key, value in row.items() if key not in (*OFF, *ON, *ALL_IF_EMPTY)}
    off = [name for key in OFF for name in _names(key, row.get(key))]
    on = [_names(key, row[key]) for key in ON if row.get(key) is not None]
    on += [names for key in ALL_IF_EMPTY if (names := _names(key, row.get(key)))]
    tools: Any = own.get("tools")
    if isinstance(tools, list) or _has_lists(tools) or _has_switches(tools):
        del own["tools"]
    if isinstance(tools, list):
        on.append(_names("tools", tools))
    elif _has_lists(tools):
        off += [name for key in ("exclude", "disabled") for name in _names(f"tools.{key}", tools.get(key))]
        on += [_names(f"tools.{key}", tools[key]) for key in ("include", "enabled") if tools.get(key) is not None]
    elif _has_switches(tools):
        off += [name for name, switched in tools.items() if not switched]
    if on and not any(on):  # a list of nothing is offered nothing
        off.append("*")
    for key, more in (("deny", off), ("allow", [name for names in on for name in names])):
        if more:
            given = own.get(key) or []
            own[key] = [*(given if isinstance(given, list | tuple) else [given]), *(f"tools:{name}" for name in more)]
    return own


def _has_lists(tools: Any) -> bool:
    """`{"exclude": ["a"]}`, and not rules for tools of such names."""
    keys = ("exclude", "disabled", "include", "enabled")
    return isinstance(tools, Mapping) and any(isinstance(tools.get(key), list | str) for key in keys)


def _has_switches(tools: Any) -> bool:
    """`{"delete_*": false}`."""
    return isinstance(tools, Mapping) and bool(tools) and all(isinstance(each, bool) for each in tools.values())


def _names(key: str, value: Any) -> list[str]:
    """The names in a list, in a text, or those that a mapping says `true` of."""
    if value is None:
        return []
    if isinstance(value, str):
        value = [value]
    if _has_switches(value):
        value = [name for name, listed in value.items() if listed]
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{key!r} must be a list of names of tools")
    return list(value)
