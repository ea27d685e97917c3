"""`/api/tools` and `/api/presets`: what is offered, what it costs a model to be shown it, and named selections."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.administration import Administration
from switchboard.admin.changes import Changes
from switchboard.admin.paging import Cursor, Limit, Page, cut
from switchboard.admin.problems import not_found
from switchboard.catalog.pages import Entry
from switchboard.catalog.selection import Wish, resolved


class Tool(BaseModel):
    """One tool, as clients see it."""

    name: str
    provider: str
    """The plugin or server that answers calls of it."""
    own_name: str
    """What that calls it."""
    title: str = ""
    description: str = ""
    tokens: int
    """About how many tokens its definition costs a model."""
    tags: list[str] = []
    scopes: list[str] = []
    """What a token needs for it, besides `mcp:tools`."""


class ToolDefinition(Tool):
    """One tool, with everything that clients are told of it."""

    definition: dict[str, Any]
    presets: list[str] = []
    """The presets whose URLs show it."""


class Preset(BaseModel):
    """A named selection."""

    name: str
    description: str = ""
    url: str
    """The endpoint that shows it."""
    selects: dict[str, Any]
    """As the configuration has it."""


class Presets(BaseModel):
    """All presets."""

    items: list[Preset]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["offer"])
    changes = Changes(administration)

    @router.get("/tools")
    async def list_tools(
        limit: Limit = 100,
        cursor: Cursor = "",
        search: Annotated[str, Query(max_length=200, description="Only those whose name contains this.")] = "",
        provider: Annotated[str, Query(max_length=200, description="Only those of this plugin or server.")] = "",
    ) -> Page[Tool]:
        """The tools of all plugins and servers, by name."""
        entries = (await administration.fresh()).tools.entries
        names = sorted(
            name
            for name, entry in entries.items()
            if search.lower() in name.lower() and provider in ("", entry.provider)
        )
        shown, following = cut(names, cursor, limit)
        items = [Tool(**_tool(entries[name])) for name in shown]
        return Page(items=items, next_cursor=following, total=len(names)).held(lambda each: each.name)

    @router.get("/tools/{name}")
    async def get_tool(name: str) -> ToolDefinition:
        """One tool, with its schemas."""
        entry = (await administration.fresh()).tools.find(name)
        if entry is None:
            raise not_found("tool", name)
        found = (await changes.written()).configuration
        shown = [
            preset
            for preset in found.presets
            if resolved(Wish(preset), found.presets, found.tool_search).admits("tools", entry)
        ]
        return ToolDefinition(**_tool(entry), definition=dict(entry.wire), presets=shown)

    @router.get("/presets")
    async def list_presets() -> Presets:
        """The named selections of the configuration, each with the URL that shows it."""
        found = (await changes.written()).configuration.presets
        return Presets(
            items=[
                Preset(
                    name=name,
                    description=preset.description,
                    url=f"{administration.mcp_url}?preset={name}",
                    selects=preset.model_dump(mode="json", exclude_defaults=True, exclude={"description"}),
                )
                for name, preset in found.items()
            ]
        )

    return router


def _tool(entry: Entry) -> dict[str, Any]:
    wire = entry.wire
    return {
        "name": entry.exposed,
        "provider": entry.provider,
        "own_name": entry.name,
        "title": wire.get("title", ""),
        "description": wire.get("description", ""),
        "tokens": entry.tokens,
        "tags": sorted(entry.tags),
        "scopes": sorted(entry.scopes),
    }
