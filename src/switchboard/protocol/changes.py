"""Change notices: which lists can change, and how each change is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ServerEvent, ToolsListChanged


class ListChange(NamedTuple):
    """How it is told that what stands under one capability changed."""

    event: ServerEvent
    method: str
    """Of the notification."""
    lists: tuple[str, ...]
    """What may have changed then."""


LIST_CHANGES: Final[Mapping[str, ListChange]] = {
    "tools": ListChange(ToolsListChanged(), "notifications/tools/list_changed", ("tools",)),
    "resources": ListChange(ResourcesListChanged(), "notifications/resources/list_changed", ("resources", "templates")),
    "prompts": ListChange(PromptsListChanged(), "notifications/prompts/list_changed", ("prompts",)),
}
"""By the name of the capability."""

KINDS: Final[Mapping[type[Any], str]] = {type(change.event): kind for kind, change in LIST_CHANGES.items()}
METHODS: Final[Mapping[str, str]] = {change.method: kind for kind, change in LIST_CHANGES.items()}

UPDATED: Final = "notifications/resources/updated"
"""The method of the notification that one resource changed."""
