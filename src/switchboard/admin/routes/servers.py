"""`/api/servers`: the servers of the configuration, how each worker is doing with them, and changes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from switchboard.admin.access import who
from switchboard.admin.administration import Administration, Told
from switchboard.admin.bodies import StrictRoute, without_placeholders
from switchboard.admin.changes import Changes, IfMatch
from switchboard.admin.paging import Cursor, Limit, Page, cut
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.config import ServerSection, SourceKind, provider_name
from switchboard.config.layers import value_at
from switchboard.config.overlay import replaced
from switchboard.config.watching import Written
from switchboard.errors import ConfigurationError, SwitchboardError

SECTION = "mcpServers"

TRIED: Final[frozenset[SourceKind]] = frozenset({"url", "command"})
"""The sources whose servers can be tried: nothing has to be installed."""

TRIED_S: Final = 20.0
"""How long a server that is tried has to answer."""


class OnWorker(BaseModel):
    """How one worker is doing with a server."""

    phase: str
    """`preparing`, `running`, `failed` or `disabled`."""
    condition: str = ""
    """Of a running one: as the worker that looks after it sees it."""
    reason: str = ""
    connections: int = 0
    pinned: str = ""
    """The version that is installed."""


class ConfiguredServer(BaseModel):
    """One server."""

    name: str
    source: str
    enabled: bool
    description: str = ""
    tags: list[str] = []
    problem: str = ""
    """Why its row is not valid."""
    row: dict[str, Any]
    """As it is written, without its secrets."""
    workers: dict[str, OnWorker] = {}
    notes: list[str] = []
    """What of its offer clients see otherwise than it says, or not at all, and why."""


class Lines(BaseModel):
    """What a server said on one worker."""

    steps: list[str] = []
    """Of its installation."""
    stderr: list[str] = []
    """Its last lines of standard error."""


class OpenConnection(BaseModel):
    """One connection of a worker to a server: a child process, or a session there."""

    worker: str
    process: int | None = None
    """The id of the child, on the worker's machine; none of a server that is reached over HTTP."""
    open: bool
    """False while it starts or ends."""
    kind: Literal["", "gateway", "session", "user", "shared"]
    """For whom it is: the gateway, which asks what there is, one session, one person, or everybody."""
    session: str = ""
    """The client's session that it ends with."""
    issuer: str = ""
    subject: str = ""
    """The person whose it is."""
    calls: int
    """Calls that run on it."""
    idle_s: int
    """For how long nobody has used it."""


class OpenConnections(BaseModel):
    """Of each worker the hundred busiest at most."""

    items: list[OpenConnection]
    silent: list[str] = []
    """Workers that have a heartbeat, and did not answer."""


class ServerLog(BaseModel):
    """By worker."""

    workers: dict[str, Lines]


class Restarted(BaseModel):
    """Where it was started anew."""

    workers: list[str]


class Trial(BaseModel):
    """Whether a row could come into force, and whether the server answers."""

    valid: bool
    reasons: list[str] = []
    """Why it is not valid, or why the server does not answer."""
    outcome: Literal["answers", "fails", "not tried"] = "not tried"
    """Not tried is what has to be installed first, or needs a credential."""
    tools: int = 0
    resources: int = 0
    prompts: int = 0


class Switch(BaseModel):
    """Several servers to be switched on or off."""

    model_config = ConfigDict(extra="forbid")

    names: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(min_length=1, max_length=500)
    enabled: bool


class Switched(BaseModel):
    """What became of one of them."""

    name: str
    done: bool
    reason: str = ""
    """Why not."""


class Switches(BaseModel):
    """What became of each, in the order in which they were named."""

    items: list[Switched]


Row = Annotated[dict[str, Any], Body(description="The row as the configuration file has it below `mcpServers`.")]


class ServerRoutes:
    """The routes' handlers."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self._changes = Changes(administration)
        self._overlay = self._changes.overlay

    async def list_servers(
        self,
        limit: Limit = 100,
        cursor: Cursor = "",
        search: Annotated[
            str, Query(max_length=200, description="Only those with this in their name, source, description or tags.")
        ] = "",
    ) -> Page[ConfiguredServer]:
        """The servers of the configuration, by name, each with its state on each worker that answers."""
        written = await self._changes.written()
        found = written.configuration
        names = sorted({*found.servers, *found.broken})
        wanted = [name for name in names if search.lower() in _words(name, found.servers.get(name))]
        shown, following = cut(wanted, cursor, limit)
        answers = await self._told() if shown else {}
        items = [_server(name, written, answers) for name in shown]
        return Page(items=items, next_cursor=following, total=len(wanted)).held(lambda each: each.name)

    async def get_server(self, name: str, response: Response) -> ConfiguredServer:
        """One server; its ETag is needed to change it."""
        written = await self._changes.written()
        return await self._one(_called(name, written), written, response)

    async def put_server(self, name: str, row: Row, response: Response, if_match: IfMatch = None) -> ConfiguredServer:
        """Add a server, or replace the row of one."""
        without_placeholders(row)
        place = (SECTION, name)
        put = partial(self._overlay.put, place, row, who=who())
        event = "server.changed" if if_match else "server.added"
        _, written = await self._changes.make(place, if_match, put, event, name)
        return await self._one(name, written, response)

    async def delete_server(self, name: str, if_match: IfMatch = None) -> None:
        """Remove a server."""
        place = (SECTION, _called(name, await self._changes.written()))
        await self._changes.remove(place, if_match, "server.removed")

    async def check_server(self, name: str, row: Row) -> Trial:
        """Whether a row could stand under this name, and whether its server answers: it is started or reached by this
        worker for that alone, with no credential. Nothing is changed."""
        without_placeholders(row)
        before = await self._overlay.read()
        try:
            after = self._changes.check(self._changes.under(before), replaced(before, (SECTION, name), row))
            section = after.configuration.servers.get(name)
            if section is None:  # as little valid as what stands there now
                return Trial(valid=False, reasons=after.configuration.broken[name].reason.splitlines())
            if section.source not in TRIED or section.auth.strategy != "none":
                return Trial(valid=True)
        except ConfigurationError as error:
            return Trial(valid=False, reasons=str(error).splitlines())
        try:
            found, offer = await self._administration.try_server(name, section, min(section.start_timeout, TRIED_S))
        except SwitchboardError as error:
            return Trial(valid=True, outcome="fails", reasons=str(error).splitlines())
        if found.condition != "ready":
            why = found.reason or f"it has not answered within {min(section.start_timeout, TRIED_S):g} s"
            return Trial(valid=True, outcome="fails", reasons=why.splitlines())
        counts = {"tools": len(offer.tools), "resources": len(offer.resources), "prompts": len(offer.prompts)}
        return Trial(valid=True, outcome="answers", **counts)

    async def enable_server(self, name: str, response: Response) -> ConfiguredServer:
        """Start a server that was switched off, on every worker."""
        return await self._switched(name, response, enabled=True)

    async def disable_server(self, name: str, response: Response) -> ConfiguredServer:
        """Switch a server off on every worker; its row stays."""
        return await self._switched(name, response, enabled=False)

    async def switch_servers(self, body: Annotated[Switch, Body()]) -> Switches:
        """Switch several servers on or off on every worker, in one revision: all that there are, or none."""
        seen = await self._changes.written()
        known = {name: called for name in dict.fromkeys(body.names) if (called := _found(name, seen)) is not None}
        event = "server.enabled" if body.enabled else "server.disabled"
        if known:
            await self._changes.switch_all(seen, SECTION, list(known.values()), event, enabled=body.enabled)
        return Switches(
            items=[
                Switched(name=name, done=name in known, reason="" if name in known else f"there is no server {name!r}")
                for name in dict.fromkeys(body.names)
            ]
        )

    async def restart_server(self, name: str) -> Restarted:
        """Start a server anew on every worker, also one that failed for good."""
        called = provider_name(_called(name, await self._changes.written()))
        answers = await self._administration.ask_workers({"restart": called})
        done = sorted(worker for worker, answer in answers.items() if answer and answer.get("restarted"))
        outcome = "ok" if done else "nowhere"
        self._administration.audit.record("server.restarted", who=who(), what=called, outcome=outcome)
        if not done:
            raise Problem(409, f"{called} runs on no worker that answered: is it enabled?")
        return Restarted(workers=done)

    async def server_logs(self, name: str) -> ServerLog:
        """The last lines of a server, and of its installation, by worker."""
        called = provider_name(_called(name, await self._changes.written()))
        rows = {worker: _of(called, answer) for worker, answer in (await self._told()).items()}
        lines = {
            worker: Lines(steps=row["steps"], stderr=row["stderr"]) for worker, row in rows.items() if row is not None
        }
        return ServerLog(workers=lines)

    async def server_connections(self, name: str) -> OpenConnections:
        """What each worker has open to a server: its child processes, or sessions at it, each with whose it is."""
        called = provider_name(_called(name, await self._changes.written()))
        answers = await self._administration.ask_workers({"connections": called})
        return OpenConnections(
            items=[
                _connection(worker, each)
                for worker, answer in sorted(answers.items())
                for each in (answer or {}).get("connections", ())
            ],
            silent=sorted(worker for worker, answer in answers.items() if answer is None),
        )

    async def _told(self) -> Mapping[str, Told | None]:
        return await self._administration.ask_workers({})

    async def _one(self, name: str, written: Written, response: Response) -> ConfiguredServer:
        response.headers["ETag"] = self._changes.tag(written, (SECTION, name))
        return _server(name, written, await self._told())

    async def _switched(self, name: str, response: Response, *, enabled: bool) -> ConfiguredServer:
        seen = await self._changes.written()
        called = _called(name, seen)
        event = "server.enabled" if enabled else "server.disabled"
        written = await self._changes.switch(seen, (SECTION, called), event, enabled=enabled)
        return await self._one(called, written, response)


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/servers", tags=["servers"], route_class=StrictRoute)
    served = ServerRoutes(administration)
    router.get("")(served.list_servers)
    router.post("/switch")(served.switch_servers)
    router.get("/{name}")(served.get_server)
    router.put("/{name}")(served.put_server)
    router.delete("/{name}", status_code=204)(served.delete_server)
    router.post("/{name}/check")(served.check_server)
    router.post("/{name}/enable")(served.enable_server)
    router.post("/{name}/disable")(served.disable_server)
    router.post("/{name}/restart")(served.restart_server)
    router.get("/{name}/connections")(served.server_connections)
    router.get("/{name}/logs")(served.server_logs)
    return router


def _called(name: str, written: Written) -> str:
    """The name as it is written of the server that is called `name`.

    Raises:
        Problem: 404, there is none.
    """
    found = _found(name, written)
    if found is None:
        raise not_found("server", name)
    return found


def _found(name: str, written: Written) -> str | None:
    rows = written.document.get(SECTION)
    names = [str(each) for each in rows] if isinstance(rows, Mapping) else []
    return next((each for each in names if name in (each, provider_name(each))), None)


def _words(name: str, section: ServerSection | None) -> str:
    """What a search looks at."""
    if section is None:
        return name.lower()
    return " ".join((name, section.source, section.description, *section.tags)).lower()


def _of(called: str, answer: Told | None) -> Mapping[str, Any] | None:
    """A server's part of what a worker told."""
    return next((row for row in (answer or {}).get("servers", ()) if row["name"] == called), None)


def _connection(worker: str, told: Told) -> OpenConnection:
    issuer, subject = json.loads(told["person"]) if told["person"] else ("", "")
    return OpenConnection(
        worker=worker, issuer=issuer, subject=subject, **{key: told[key] for key in told if key != "person"}
    )


def _server(name: str, written: Written, answers: Mapping[str, Told | None]) -> ConfiguredServer:
    found = written.configuration
    rows = {worker: _of(provider_name(name), answer) for worker, answer in answers.items()}
    here = {worker: row for worker, row in rows.items() if row is not None}
    section, fault = found.servers.get(name), found.broken.get(name)
    row = value_at(written.shown, (SECTION, name))
    return ConfiguredServer(
        name=name,
        source=section.source if section else "",
        enabled=section.enabled if section else False,
        description=section.description if section else "",
        tags=list(section.tags) if section else [],
        problem=fault.reason if fault else "",
        row=row if isinstance(row, dict) else {},
        workers={
            worker: OnWorker(**{key: row[key] for key in ("phase", "condition", "reason", "connections", "pinned")})
            for worker, row in here.items()
        },
        notes=list(dict.fromkeys(note for row in here.values() for note in row["notes"])),
    )
