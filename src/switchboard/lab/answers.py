"""Errors and redirects of an authorization server, as the lab's issuers and its company provider answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import JSONResponse, PlainTextResponse, Response

NO_STORE: Final = {"Cache-Control": "no-store"}


class RefusedRequest(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(
        self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status
        self.headers = {**NO_STORE, **(headers or {})}

    def answer(self) -> Response:
        """As it is sent."""
        said = {"error": self.error, "error_description": self.description}
        return JSONResponse(said, self.status, headers=self.headers)


class Unusable(Exception):
    """An authorization request that cannot be answered at its redirect_uri (RFC 6749 §4.1.2.1)."""

    def answer(self) -> Response:
        """As the person's browser shows it."""
        return PlainTextResponse(f"{self}.\n", 400)


def with_params(url: str, params: Mapping[str, str]) -> str:
    """A redirect URI with further parameters in its query."""
    parts = urlsplit(url)
    return parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *params.items()])).geturl()
