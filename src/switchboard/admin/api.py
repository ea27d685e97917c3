"""The API as an ASGI application: made when it is first asked for, since its library takes a moment to import."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.problem_details import MEDIA_TYPE, AsProblems

if TYPE_CHECKING:
    from fastapi import FastAPI

    from switchboard.admin.administration import Administration

PATH: Final = "/api"


class Api:
    """Serves `/api`: what is about the API itself to everybody, all else behind `guard`.

    Args:
        guard: finds out who asks, for programs.
    """

    def __init__(self, administration: Administration, guard: Callable[[ASGIApp], ASGIApp]) -> None:
        self._administration = administration
        self._guarded: ASGIApp = AsProblems(guard(self.unguarded))
        self._parts: tuple[FastAPI, Mapping[str, ASGIApp]] | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, public = await self._made()
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        await public.get(path, self._guarded)(scope, receive, send)

    async def unguarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The API for whoever the current caller is: to stand behind another guard."""
        api, _ = await self._made()
        await api(scope, receive, send)

    async def fleet(self) -> Mapping[str, Any]:
        """All workers, as `GET /api/workers` tells of them."""
        await self._made()
        from switchboard.admin.routes.workers import fleet

        return (await fleet(self._administration)).model_dump(mode="json")

    async def _made(self) -> tuple[FastAPI, Mapping[str, ASGIApp]]:
        """The API, and what of it everybody may see."""
        if self._parts is not None:
            return self._parts
        async with self._making:
            if self._parts is None:
                self._parts = await asyncio.to_thread(self._make)
            return self._parts

    def _make(self) -> tuple[FastAPI, Mapping[str, ASGIApp]]:
        from switchboard.admin.reference import PATHS, reference

        api = made(self._administration)
        return api, dict.fromkeys(PATHS, reference(api, self._administration.version))


def made(administration: Administration) -> FastAPI:
    """The application, with all its routes."""
    from fastapi import Depends, FastAPI

    from switchboard.admin import problems
    from switchboard.admin.access import Access
    from switchboard.admin.idempotency import Idempotency
    from switchboard.admin.routes import (
        audit,
        calls,
        configuration,
        connections,
        credentials,
        decisions,
        offer,
        plugins,
        registry,
        servers,
        sessions,
        streams,
        tasks,
        workers,
    )

    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": problems.SCHEMA}}}
        for status, text in (
            (400, "The body is no JSON, or none that can be kept"),
            (403, "The token lacks a scope"),
            (404, "There is no such thing"),
            (409, "Not as things are now"),
            (412, "It was changed meanwhile; `current` is what it is now"),
            (422, "The request is wrong; `mistakes` says where"),
            (428, "If-Match is missing"),
            (503, "Redis, or a worker, does not answer now"),
        )
    }
    access = Access(administration)
    api = FastAPI(
        title="Switchboard",
        version=administration.version,
        description="The fleet, and what it serves. A token needs the scope `admin`, or `admin:read` to look.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        root_path_in_servers=False,
        servers=[{"url": f"{administration.mcp_url.removesuffix('/mcp')}{PATH}"}],
        dependencies=[Depends(access)],
        responses=errors,
        generate_unique_id_function=lambda route: route.name,
    )
    problems.handle(api)
    api.add_middleware(Idempotency, state=administration.state, access=access)
    offered = (servers, plugins, offer, calls, decisions, registry)
    for room in (workers, *offered, sessions, streams, tasks, credentials, connections, configuration, audit):
        api.include_router(room.routes(administration))
    return api
