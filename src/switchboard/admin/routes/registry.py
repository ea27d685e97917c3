"""`/api/registry`: servers of the MCP registry that this fleet is told of, and the rows that they would be added as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from switchboard.admin.administration import Administration
from switchboard.admin.changes import Changes
from switchboard.admin.problems import SCHEMA
from switchboard.common.problem_details import MEDIA_TYPE, Problem
from switchboard.config import provider_name
from switchboard.sources.registry import Listed, NotAsked, NotListed, RegistryFailure
from switchboard.sources.registry_entries import options


class RegistryServer(BaseModel):
    """The latest version of a server in the registry."""

    name: str
    """In the registry: `io.github.user/weather`."""
    title: str = ""
    description: str = ""
    version: str = ""
    status: str = ""
    """`active`, `deprecated` or `deleted`; empty where the registry does not say."""
    status_message: str = ""
    updated: str = ""
    website: str = ""
    repository: str = ""
    suggested_name: str
    """What it could be called in the configuration."""


class RegistryServers(BaseModel):
    """A page of a search. The registry does not count."""

    items: list[RegistryServer]
    next_cursor: str | None = None
    registry: str
    """Its URL."""
    unreadable: int = 0
    """Entries that are left out because they cannot be read."""


class RegistryInput(BaseModel):
    """A value that the operator may or has to give."""

    name: str
    where: str
    description: str = ""
    required: bool
    secret: bool
    default: str | None = None
    choices: list[str] = []
    reference: str = ""
    """What stands for it in the row: replace it there by the value, or set the variable that it names."""


class RegistryOption(BaseModel):
    """One way to have the server."""

    kind: str
    """`http`, `sse`, `npm`, `pypi` or `docker`; another word where it cannot be added."""
    row: dict[str, Any]
    """For `PUT /api/servers/{name}`; empty where it cannot be added."""
    inputs: list[RegistryInput] = []
    notes: list[str] = []
    """What to look at before it is added."""
    problem: str = ""
    """Why it cannot be added."""


class RegistryServerDetails(RegistryServer):
    """A server, and the ways to have it."""

    taken: bool
    """Whether the configuration has a server or plugin that is called so."""
    options: list[RegistryOption]
    """What can be added first, the best first."""


Name = Annotated[str | None, Query(alias="as", min_length=1, max_length=64, description="What it will be called here.")]
Words = Annotated[str, Query(max_length=200, description="A part of the server's name.")]
Cursor = Annotated[str, Query(max_length=1024, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page.")]
Version = Annotated[str, Query(min_length=1, max_length=255, description="Which version.")]

_AWAY: dict[int | str, dict[str, Any]] = {
    502: {"description": "The registry gave no usable answer", "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
}


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/registry/servers", tags=["registry"], responses=_AWAY)
    registry = administration.registry

    @router.get("")
    async def search_registry(search: Words = "", cursor: Cursor = "", limit: Limit = 30) -> RegistryServers:
        """Servers of the registry whose name has the text in it."""
        with _as_problems():
            page = await registry.search(search, cursor=cursor, limit=limit)
        return RegistryServers(
            items=[RegistryServer(**_told(each)) for each in page.servers],
            next_cursor=page.cursor or None,
            registry=registry.url,
            unreadable=page.unreadable,
        )

    @router.get("/{name:path}")
    async def get_registry_server(name: str, version: Version = "latest", called: Name = None) -> RegistryServerDetails:
        """One server of the registry, with the rows that it could be added as."""
        with _as_problems():
            listed = await registry.server(name, version)
        server = called or listed.entry.suggested
        found = (await Changes(administration).written()).configuration
        names = {provider_name(each) for each in (*found.servers, *found.broken, *found.plugins)}
        return RegistryServerDetails(
            **_told(listed),
            taken=provider_name(server) in names,
            options=[RegistryOption.model_validate(asdict(each)) for each in options(listed.entry, server, {})],
        )

    return router


@contextmanager
def _as_problems() -> Iterator[None]:
    """What the registry did not give, as it is answered here."""
    try:
        yield
    except NotListed as error:
        raise Problem(404, str(error)) from None
    except NotAsked as error:
        raise Problem(422, str(error)) from None
    except RegistryFailure as error:
        raise Problem(502, str(error)) from None


def _told(listed: Listed) -> dict[str, Any]:
    entry = listed.entry
    return {
        "name": entry.name,
        "title": entry.title,
        "description": entry.description,
        "version": entry.version,
        "status": listed.status,
        "status_message": listed.message,
        "updated": listed.updated,
        "website": entry.website_url,
        "repository": entry.repository.url,
        "suggested_name": entry.suggested,
    }
