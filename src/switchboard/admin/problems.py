"""The API's problem details: their document for the reference, and what each error becomes."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from switchboard.common.problem_details import Problem
from switchboard.errors import ConfigurationError, StateUnavailable

RETRY_AFTER_S: Final = "1"


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    """In the body, the query or the path: `body.url`."""
    reason: str


class ProblemDetails(BaseModel):
    """RFC 9457."""

    title: str
    status: int
    detail: str = ""
    mistakes: list[Mistake] = []
    current: Any = None
    """What is there now, where a request was made for something that changed meanwhile."""


SCHEMA: Final = ProblemDetails.model_json_schema()


def not_found(what: str, name: str) -> Problem:
    """There is no such thing."""
    return Problem(404, f"there is no {what} {name!r}")


def unavailable(error: StateUnavailable) -> Response:
    """Redis cannot be reached now."""
    return Problem(503, str(error), headers={"Retry-After": RETRY_AFTER_S}).response()


def handle(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    async def problem(_request: Request, error: Any) -> Response:
        answer: Response = error.response()
        return answer

    async def http(_request: Request, error: Any) -> Response:
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {})).response()

    async def invalid(_request: Request, error: Any) -> Response:
        found = [Mistake(where=".".join(map(str, each["loc"])), reason=each["msg"]) for each in error.errors()]
        return Problem(422, "the request is not as this route takes it", mistakes=found).response()

    async def misconfigured(_request: Request, error: Any) -> Response:
        return Problem(422, str(error)).response()

    async def away(_request: Request, error: Any) -> Response:
        return unavailable(error)

    for kind, handler in (
        (Problem, problem),
        (HTTPException, http),
        (RequestValidationError, invalid),
        (ConfigurationError, misconfigured),
        (StateUnavailable, away),
    ):
        app.add_exception_handler(kind, handler)
