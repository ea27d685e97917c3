"""Bodies of requests: JSON that can be kept and shown again, and nothing that stands for a secret.

Python's own reader takes NaN and half a surrogate pair. Stored, either would fail every answer that shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from switchboard.common import strict_json
from switchboard.common.problem_details import Problem
from switchboard.config.redaction import HIDDEN


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return strict_json.read(await self.body())
        except ValueError as error:
            raise HTTPException(400, f"the body is no JSON that can be kept: {error}") from None


class StrictRoute(APIRoute):
    """A route whose body is read by `strict_json`, or answered with 400."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given such a request."""
        serve = super().get_route_handler()

        async def served(request: Request) -> Response:
            return await serve(_StrictRequest(request.scope, request.receive))

        return served


def without_placeholders(value: Any, where: str = "body") -> None:
    """Refuse what was shown in place of a secret, so that it is not stored as one.

    Raises:
        Problem: 422, naming the place.
    """
    if isinstance(value, str) and HIDDEN in value:
        raise Problem(422, f"{where} is {HIDDEN!r}, which stands for a secret: write the secret, or ${{VARIABLE}}")
    if isinstance(value, dict):
        for key, each in value.items():
            without_placeholders(each, f"{where}.{key}")
    if isinstance(value, list):
        for index, each in enumerate(value):
            without_placeholders(each, f"{where}.{index}")
