"""Errors as problem details (RFC 9457): what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from switchboard.errors import ConfigurationError, StateUnavailable

MEDIA_TYPE: Final = "application/problem+json"
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


class Problem(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        current: Any = None,
        mistakes: Sequence[Mistake] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        title = HTTPStatus(status).phrase
        self.details = ProblemDetails(
            title=title, status=status, detail=detail, mistakes=list(mistakes), current=current
        )
        self.headers = headers or {}

    def answer(self) -> JSONResponse:
        """As a response."""
        body = self.details.model_dump(mode="json", exclude_defaults=True) | {"status": self.details.status}
        return JSONResponse(body, self.details.status, headers=self.headers, media_type=MEDIA_TYPE)


def not_found(what: str, name: str) -> Problem:
    """There is no such thing."""
    return Problem(404, f"there is no {what} {name!r}")


def unavailable(error: StateUnavailable) -> JSONResponse:
    """Redis cannot be reached now."""
    return Problem(503, str(error), headers={"Retry-After": RETRY_AFTER_S}).answer()


def handle(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    async def problem(_request: Request, error: Any) -> JSONResponse:
        answer: JSONResponse = error.answer()
        return answer

    async def http(_request: Request, error: Any) -> JSONResponse:
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {})).answer()

    async def invalid(_request: Request, error: Any) -> JSONResponse:
        found = [Mistake(where=".".join(map(str, each["loc"])), reason=each["msg"]) for each in error.errors()]
        return Problem(422, "the request is not as this route takes it", mistakes=found).answer()

    async def misconfigured(_request: Request, error: Any) -> JSONResponse:
        return Problem(422, str(error)).answer()

    async def away(_request: Request, error: Any) -> JSONResponse:
        return unavailable(error)

    for kind, handler in (
        (Problem, problem),
        (HTTPException, http),
        (RequestValidationError, invalid),
        (ConfigurationError, misconfigured),
        (StateUnavailable, away),
    ):
        app.add_exception_handler(kind, handler)
