"""`/api/configuration`: what is in force, a check before a change, changes, what was before, and a way back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel

from switchboard.admin.access import who
from switchboard.admin.administration import Administration
from switchboard.admin.bodies import StrictRoute, without_placeholders
from switchboard.admin.changes import Changes, IfMatch
from switchboard.common.problem_details import Problem
from switchboard.config.overlay import Layered, composed
from switchboard.config.redaction import shown_as_written
from switchboard.config.watching import Written
from switchboard.errors import ConfigurationError

Patch = Annotated[
    dict[str, Any],
    Body(description="A merge patch (RFC 7396) of the configuration: null takes away.", media_type="application/json"),
]


class InForce(BaseModel):
    """The configuration of this worker's file, the environment and the fleet's overlay."""

    revision: int
    """Of the overlay; 0 before its first change."""
    document: dict[str, Any]
    """Without its secrets, and without what is at its default."""
    overlay: dict[str, Any]
    """What the overlay alone states."""
    removed: dict[str, Any]
    """What the overlay takes away from the layers below."""
    problem: str | None = None
    """Why what is written is not in force."""


class Checked(BaseModel):
    """Whether a change could come into force."""

    valid: bool
    reasons: list[str] = []


class Change(BaseModel):
    """One revision."""

    revision: int
    who: str
    at: float
    """Unix seconds."""
    overlay: dict[str, Any]
    removed: dict[str, Any]


class History(BaseModel):
    """Revisions, the newest first."""

    items: list[Change]


def routes(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/configuration", tags=["configuration"], route_class=StrictRoute)
    changes = Changes(administration)
    overlay = changes.overlay

    def told(layered: Layered, written: Written, response: Response) -> InForce:
        response.headers["ETag"] = changes.tag(written, ())
        return InForce(
            revision=layered.revision,
            document=written.shown,
            overlay=shown_as_written(layered.stated),
            removed=dict(layered.removed),
            problem=administration.watched.problem,
        )

    @router.get("")
    async def get_configuration(response: Response) -> InForce:
        """What is in force; its ETag is needed to change it."""
        layered = await overlay.read()
        return told(layered, changes.under(layered), response)

    @router.patch("")
    async def change_configuration(patch: Patch, response: Response, if_match: IfMatch = None) -> InForce:
        """Change the configuration of the whole fleet."""
        without_placeholders(patch)
        made = await changes.make(
            (),
            if_match,
            lambda check: overlay.change(patch, check, who=who()),
            "configuration.changed",
            "configuration",
        )
        return told(*made, response)

    @router.post("/check")
    async def check_configuration(patch: Patch) -> Checked:
        """Whether a change could come into force; nothing is changed."""
        without_placeholders(patch)
        before = await overlay.read()
        try:
            changes.check(changes.under(before), composed(before, patch))
        except ConfigurationError as error:
            return Checked(valid=False, reasons=str(error).splitlines())
        return Checked(valid=True)

    @router.get("/history")
    async def get_history() -> History:
        """What the overlay was, and who changed it."""
        return History(
            items=[
                Change(
                    revision=each.layered.revision,
                    who=each.who,
                    at=each.at,
                    overlay=shown_as_written(each.layered.stated),
                    removed=dict(each.layered.removed),
                )
                for each in await overlay.history()
            ]
        )

    @router.post("/history/{revision}/restore")
    async def restore_revision(revision: int, response: Response) -> InForce:
        """Bring an earlier revision into force again, as a new one. Revision 0 is the empty overlay."""
        known = {each.layered.revision: each.layered for each in await overlay.history()} | {0: Layered()}
        if revision not in known:
            raise Problem(404, f"there is no revision {revision}; kept are {', '.join(map(str, sorted(known)))}")
        made = await changes.make(
            (),
            changes.tag(await changes.written(), ()),
            lambda check: overlay.restore(known[revision], check, who=who()),
            "configuration.restored",
            f"revision {revision}",
        )
        return told(*made, response)

    return router
