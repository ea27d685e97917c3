"""`/api/workers`: the fleet, by asking every worker; one that is asked and does not answer shows as such."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration, Told
from switchboard.admin.problems import not_found
from switchboard.common.problem_details import Problem
from switchboard.fleet.heartbeat import left


class Worker(BaseModel):
    """One worker of the fleet."""

    id: str
    state: Literal["serving", "draining", "silent"]
    """`silent` has a heartbeat, and did not answer: it is busy, stopped, or was lost within the last seconds."""
    version: str = ""
    uptime_s: int | None = None
    streams: int | None = None
    """Streams that clients hold open there."""
    requests: int | None = None
    """Requests of sessions that run there."""
    rates: dict[str, Any] = {}
    """What it served within the last minutes: requests a second, errors, latencies."""
    servers: dict[str, str] = {}
    """How it is doing with each server: the phase, or the condition of a running one."""
    connections: dict[str, int] = {}
    """Sessions and child processes that it holds with each server, if any."""
    problem: str | None = None
    """Why the configuration that is written is not in force there."""


class Left(BaseModel):
    """A worker that is gone because it was told to be."""

    id: str
    at: float
    """Unix seconds."""


class Fleet(BaseModel):
    """All workers."""

    items: list[Worker]
    left: list[Left] = []
    """Those that were drained, or ended by SIGTERM, within the last minute; one that was lost is not among them."""


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/workers", tags=["workers"])

    @router.get("")
    async def list_workers() -> Fleet:
        """Every worker that has a heartbeat."""
        return await fleet(administration)

    @router.post("/{worker}/drain", status_code=202)
    async def drain_worker(worker: str) -> Worker:
        """Have a worker leave as on SIGTERM: its streams move to others, its requests finish, then it ends."""
        beats = (await _heartbeats(administration, [worker]))[worker]
        if not beats:
            raise not_found("worker", worker)
        told = (await administration.ask_workers({"drain": True}, [worker]))[worker]
        outcome = "ok" if told is not None else "no answer"
        administration.audit.record("worker.drained", who=who(), what=worker, outcome=outcome)
        if told is None:
            raise Problem(503, f"worker {worker} did not answer; it may have left", headers={"Retry-After": "1"})
        return _worker(worker, told, beats)

    return router


async def fleet(administration: Administration) -> Fleet:
    """Every worker that has a heartbeat, and what it says when it is asked."""
    told = await administration.ask_workers({})
    beats = await _heartbeats(administration, list(told))
    gone = await left(administration.state)
    return Fleet(
        items=[_worker(worker, told[worker], beats[worker]) for worker in sorted(told)],
        left=[Left(id=worker, at=at) for worker, at in gone.items() if worker not in told],
    )


async def _heartbeats(administration: Administration, workers: list[str]) -> dict[str, dict[str, str]]:
    state = administration.state
    with state.guard():
        async with state.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.hgetall(state.keys.worker(worker))
            found: list[Any] = await pipe.execute() if workers else []
    return dict(zip(workers, found, strict=True))


def _worker(worker: str, told: Told | None, beats: dict[str, str]) -> Worker:
    started = beats.get("started", "")
    common = {
        "id": worker,
        "version": beats.get("version", ""),
        "uptime_s": max(0, int(time.time()) - int(started)) if started.isdigit() else None,
    }
    if told is None:
        return Worker(**common, state="silent")
    servers = {each["name"]: each["condition"] or each["phase"] for each in told.get("servers", ())}
    return Worker(
        **common,
        state="draining" if told.get("draining") else "serving",
        streams=told.get("streams"),
        requests=told.get("requests"),
        rates=dict(told.get("rates", {})),
        servers=servers,
        connections={each["name"]: each["connections"] for each in told.get("servers", ()) if each["connections"]},
        problem=told.get("problem"),
    )
