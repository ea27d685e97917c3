"""`/api/tools/{name}/decision`: whether somebody may call a tool, by the functions that decide it for a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.administration import Administration
from switchboard.admin.changes import Changes
from switchboard.catalog import Catalog, Entry, Selection, UnknownSelection, Wish, resolved, select
from switchboard.config import Configuration, provider_name
from switchboard.identity import Caller, Principal, serving

Name = Literal["configuration", "offer", "policy", "selection", "list", "scopes", "connection"]


class Step(BaseModel):
    """One thing that is looked at."""

    step: Name
    outcome: Literal["passed", "refused", "noted"]
    said: str


class Decision(BaseModel):
    """Whether a call would come through to the plugin or server."""

    tool: str
    subject: str
    issuer: str
    scopes: list[str]
    allowed: bool
    steps: list[Step]
    """In the order in which a request meets them; the last one is refused where the call is."""


Subject = Annotated[str, Query(min_length=1, max_length=255, description="Whose call.")]
Issuer = Annotated[str | None, Query(max_length=2000, description="The person's issuer; else this server's own.")]
Scopes = Annotated[tuple[str, ...], Query(max_length=100, description="Of the token.")]
Text = Annotated[str, Query(max_length=512)]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["offer"])
    changes = Changes(administration)

    @router.get("/tools/{name}/decision")
    async def explain_decision(
        name: str, subject: Subject, scope: Scopes = ("mcp",), issuer: Issuer = None, preset: Text = "", tags: Text = ""
    ) -> Decision:
        """Whether a person's call of a tool would come through, and what decides it, step by step."""
        found = (await changes.written()).configuration
        principal = Principal(administration.issuer if issuer is None else issuer, subject, "", frozenset(scope))
        await administration.fresh()
        with serving(Caller(principal)):
            deciding = _Deciding(administration, found, principal, name, Wish(preset, tags))
            steps = [*deciding.until_scopes()]
            if deciding.entry is None:
                steps = await deciding.before_connecting() or steps
            elif steps[-1].outcome != "refused":
                steps += await deciding.connection(deciding.entry.provider)
        return Decision(
            tool=name,
            subject=subject,
            issuer=principal.issuer,
            scopes=sorted(principal.scopes),
            allowed=steps[-1].outcome != "refused",
            steps=steps,
        )

    return router


@dataclass
class _Deciding:
    administration: Administration
    configuration: Configuration
    principal: Principal
    name: str
    wish: Wish
    entry: Entry | None = None

    def until_scopes(self) -> Iterator[Step]:
        catalog = self.administration.catalog()
        self.entry = catalog.tools.find(self.name)
        if self.entry is None:
            yield self._not_offered(catalog)
            return
        provider = self.entry.provider
        yield Step(step="offer", outcome="passed", said=f"{provider} offers it as {self.entry.name!r}")
        yield Step(step="policy", outcome="passed", said=f"allow and deny of {provider} leave it in")
        yield from self._selected(catalog, self.entry)

    def _not_offered(self, catalog: Catalog) -> Step:
        """Why there is no such tool."""
        prefix, _, own = self.name.partition(self.configuration.separator)
        known = {provider_name(each): each for each in (*self.configuration.servers, *self.configuration.broken)}
        called = known.get(prefix, prefix)
        if called in self.configuration.broken:
            said = f"the row of {called} is not valid: {self.configuration.broken[called].reason}"
            return Step(step="configuration", outcome="refused", said=said)
        section = self.configuration.servers.get(called) or self.configuration.plugins.get(prefix)
        if section is not None and not section.enabled:
            return Step(step="configuration", outcome="refused", said=f"{called} is disabled: enable it")
        if (reason := self.administration.absent(self.name)) is not None:
            return Step(step="offer", outcome="refused", said=reason.error.message)
        for rejected in catalog.rejected:
            if rejected.kind == "tools" and (rejected.provider, rejected.name) == (prefix, own):
                return Step(step="offer", outcome="refused", said=f"{prefix} offers it: {rejected.reason}")
        shape = catalog.shapes.get(prefix)
        if shape is not None and own and not shape.offers("tools", own):
            said = f"allow and deny of {called} leave {own!r} out, whether or not it offers that"
            return Step(step="policy", outcome="refused", said=said)
        where = f"{called} offers no tool {own!r} now" if section is not None else "no plugin or server offers it"
        return Step(step="offer", outcome="refused", said=where)

    def _selected(self, catalog: Catalog, entry: Entry) -> Iterator[Step]:
        configuration = self.configuration
        try:
            selection = resolved(self.wish, configuration.presets, configuration.tool_search)
        except UnknownSelection as error:
            yield Step(step="selection", outcome="refused", said=str(error))
            return
        shown = select(catalog, selection)
        asked = self.wish.query or "no preset and no tags"
        if shown.tools.find(self.name) is None:
            yield Step(step="selection", outcome="refused", said=f"{asked}: {_left_out(selection, entry)}")
            return
        yield Step(step="selection", outcome="passed", said=f"{asked}: it is among what that selects")
        if self.name not in shown.tools.entries:
            yield Step(
                step="list", outcome="noted", said="it is not in tools/list, and found by searching: tool_search"
            )
        yield self._scopes(entry)

    def _scopes(self, entry: Entry) -> Step:
        lacking = self.administration.lacking(self.principal, entry.scopes)
        held = " ".join(sorted(self.principal.scopes)) or "none"
        if lacking:
            said = f"the token has {held}, and calls of it need {' '.join(sorted(lacking))} together"
            return Step(step="scopes", outcome="refused", said=said)
        return Step(step="scopes", outcome="passed", said=f"the token's {held} are enough")

    async def before_connecting(self) -> list[Step]:
        """That a person has to connect before there is any tool of a server; nothing where that is not so."""
        prefix = self.name.partition(self.configuration.separator)[0]
        return [step for step in await self.connection(prefix) if step.outcome == "refused"]

    async def connection(self, provider: str) -> list[Step]:
        """Whether the person needs an account of their own there, and has it."""
        connectable = self.administration.connectables.find(provider)
        if connectable is None:
            return [Step(step="connection", outcome="passed", said=f"{provider} needs nothing of the person's own")]
        account = await self.administration.accounts.of(self.principal.person, connectable)
        if account.state in ("connected", "expired"):
            said = f"connected to {provider}" + (", to be renewed" if account.state == "expired" else "")
            return [Step(step="connection", outcome="passed", said=said)]
        why = f" ({account.reason})" if account.reason else ""
        said = f"the person has to connect to {provider}{why}: they do so on the page Connections"
        return [Step(step="connection", outcome="refused", said=said)]


def _left_out(selection: Selection, entry: Entry) -> str:
    """Which part of a selection does not admit the entry: each is asked alone."""
    parts = {
        f"tags: it has {', '.join(sorted(entry.tags)) or 'none'}": Selection(tags=selection.tags),
        f"servers: {entry.provider} is not among them": Selection(providers=selection.providers),
        "allow does not name it": Selection(allow=selection.allow),
        "deny names it": Selection(deny=selection.deny),
    }
    return "; ".join(why for why, part in parts.items() if not part.admits("tools", entry)) or "it is left out"
