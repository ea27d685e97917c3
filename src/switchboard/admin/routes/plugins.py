"""`/api/plugins`: the plugins of the configuration, how each worker is doing with them, and changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration, Told
from switchboard.admin.bodies import StrictRoute, without_placeholders
from switchboard.admin.changes import Changes, IfMatch
from switchboard.admin.paging import Cursor, Limit, Page, cut
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.config.layers import value_at
from switchboard.config.overlay import Check, Layered
from switchboard.config.watching import Written

SECTION = "plugins"


class PluginOnWorker(BaseModel):
    """How one worker is doing with a plugin."""

    phase: str
    """`running`, `failed` or `disabled`."""
    reason: str = ""
    serving: bool = False
    """Whether it serves; one whose new configuration failed goes on with its old one."""
    version: str = ""
    notes: list[str] = []


class ConfiguredPlugin(BaseModel):
    """One plugin."""

    name: str
    enabled: bool
    description: str = ""
    row: dict[str, Any]
    """As it is in force, without its secrets, and without what is at its default."""
    workers: dict[str, PluginOnWorker] = {}


Config = Annotated[dict[str, Any], Body(description="The plugin's own configuration, as a whole.")]


class PluginRoutes:
    """The routes' handlers."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self._changes = Changes(administration)
        self._overlay = self._changes.overlay

    async def list_plugins(self, limit: Limit = 100, cursor: Cursor = "") -> Page[ConfiguredPlugin]:
        """The plugins of the configuration, by name, each with its state on each worker that answers."""
        written, answers = await self._changes.written(), await self._told()
        names = sorted(written.configuration.plugins)
        shown, following = cut(names, cursor, limit)
        items = [_plugin(name, written, answers) for name in shown]
        return Page(items=items, next_cursor=following, total=len(names)).held(lambda each: each.name)

    async def get_plugin(self, plugin: str, response: Response) -> ConfiguredPlugin:
        """One plugin; its ETag is needed to change it."""
        written = await self._changes.written()
        return await self._one(_present(plugin, written), written, response)

    async def enable_plugin(self, plugin: str, response: Response) -> ConfiguredPlugin:
        """Start a plugin on every worker."""
        return await self._switched(plugin, response, enabled=True)

    async def disable_plugin(self, plugin: str, response: Response) -> ConfiguredPlugin:
        """Stop a plugin on every worker; its configuration and its credentials stay."""
        return await self._switched(plugin, response, enabled=False)

    async def put_plugin_config(
        self, plugin: str, config: Config, response: Response, if_match: IfMatch = None
    ) -> ConfiguredPlugin:
        """Replace a plugin's own configuration. What its model refuses changes nothing, where this worker runs it."""
        without_placeholders(config)
        place = (SECTION, _present(plugin, await self._changes.written()))
        put = partial(self._overlay.put, (*place, "config"), config, who=who())
        change = partial(self._checked, plugin, put)
        _, written = await self._changes.make(place, if_match, change, "plugin.configured", plugin)
        return await self._one(plugin, written, response)

    async def delete_plugin(self, plugin: str, if_match: IfMatch = None) -> None:
        """Remove a plugin's row. What is built in or in the plugins folder is then as it is without one."""
        written = await self._changes.written()
        place = (SECTION, _present(plugin, written))
        if value_at(written.document, place) is ...:
            raise Problem(409, f"{plugin} is built in, and has no row to remove: disable it")
        await self._changes.remove(place, if_match, "plugin.removed")

    async def _checked(self, name: str, put: Any, check: Check) -> Layered:
        """Put, once the plugin's model takes it."""

        def both(before: Layered, after: Layered) -> None:
            check(before, after)
            self._administration.check_plugin(name, self._changes.under(after).configuration.plugins[name])

        layered: Layered = await put(both)
        return layered

    async def _switched(self, name: str, response: Response, *, enabled: bool) -> ConfiguredPlugin:
        seen = await self._changes.written()
        event = "plugin.enabled" if enabled else "plugin.disabled"
        written = await self._changes.switch(seen, (SECTION, _present(name, seen)), event, enabled=enabled)
        return await self._one(name, written, response)

    async def _told(self) -> Mapping[str, Told | None]:
        return await self._administration.ask_workers({})

    async def _one(self, name: str, written: Written, response: Response) -> ConfiguredPlugin:
        response.headers["ETag"] = self._changes.tag(written, (SECTION, name))
        return _plugin(name, written, await self._told())


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/plugins", tags=["plugins"], route_class=StrictRoute)
    served = PluginRoutes(administration)
    router.get("")(served.list_plugins)
    router.get("/{plugin}")(served.get_plugin)
    router.delete("/{plugin}", status_code=204)(served.delete_plugin)
    router.post("/{plugin}/enable")(served.enable_plugin)
    router.post("/{plugin}/disable")(served.disable_plugin)
    router.put("/{plugin}/config")(served.put_plugin_config)
    return router


def _present(name: str, written: Written) -> str:
    """The name.

    Raises:
        Problem: 404, there is no such plugin.
    """
    if name not in written.configuration.plugins:
        raise not_found("plugin", name)
    return name


def _plugin(name: str, written: Written, answers: Mapping[str, Told | None]) -> ConfiguredPlugin:
    rows = {
        worker: row
        for worker, answer in answers.items()
        for row in (answer or {}).get("plugins", ())
        if row["name"] == name
    }
    row = value_at(written.shown, (SECTION, name))
    return ConfiguredPlugin(
        name=name,
        enabled=written.configuration.plugins[name].enabled,
        description=next((each["description"] for each in rows.values() if each["description"]), ""),
        row=row if isinstance(row, dict) else {},
        workers={
            worker: PluginOnWorker(**{key: each[key] for key in PluginOnWorker.model_fields})
            for worker, each in rows.items()
        },
    )
