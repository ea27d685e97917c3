"""Asks the REST API of a running server, for commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urljoin

import httpx2

from switchboard.cli.client.server import CallFailed, endpoint, headers
from switchboard.common.visible_text import escaped

TIMEOUT_S: Final = 30.0

PAGE: Final = 500
"""Items of one page: the most that the API gives."""


class Refused(CallFailed):
    """The API answered with an error."""

    def __init__(self, message: str, status: int, etag: str | None) -> None:
        super().__init__(message)
        self.status, self.etag = status, etag


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    document: Any
    """None where it answers without a body."""
    etag: str | None
    """Of what is changed with `If-Match`."""


@dataclass(frozen=True)
class Api:
    """The API of one server, as a person asks it."""

    url: str
    """The endpoint, beside which the API is."""
    headers: Mapping[str, str]

    def answer(self, method: str, path: str, body: Any = None, *, if_match: str | None = None, **query: Any) -> Answer:
        """What the API answered.

        Args:
            body: of the request, as JSON; none where it is None.
            if_match: the ETag that was seen.
            query: of the address.

        Raises:
            CallFailed: it cannot be reached, refused, or is no API of ours.
        """
        address = urljoin(self.url, f"api/{path}")
        sent = {**self.headers, **({} if if_match is None else {"If-Match": if_match})}
        try:
            answer = httpx2.request(method, address, headers=sent, params=query, json=body, timeout=TIMEOUT_S)
            document = answer.json() if answer.content else None
        except httpx2.HTTPError as error:
            raise CallFailed(f"{address} cannot be reached: {error}") from error
        except ValueError:
            document = None
        if not answer.is_success:
            raise Refused(_said(address, answer, document), answer.status_code, answer.headers.get("etag"))
        if document is None and answer.status_code != 204:
            raise CallFailed(f"{address} answered {answer.status_code}, and no JSON: is it this server's address?")
        return Answer(document, answer.headers.get("etag"))

    def asked(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The document that the API answered; raises as `answer` does."""
        return self.answer(method, path, body, **query).document

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All pages of a list; raises as `answer` does."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.asked("GET", path, limit=PAGE, cursor=cursor, **query)
            yield page
            cursor = page["next_cursor"]

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """What is on all pages of a list; raises as `answer` does."""
        for page in self.pages(path, **query):
            yield from page["items"]


def path_of(*parts: str) -> str:
    """The path of what has these names and ids, whatever characters are in them."""
    return "/".join(quote(part, safe="") for part in parts)


def api(url: str | None, token: str | None, header: Iterable[str] | None, *, insecure: bool) -> Api:
    """The API that the options of a command name.

    Raises:
        ConfigurationError: they do not fit.
    """
    return Api(endpoint(url, insecure=insecure), headers(header, token))


def _said(address: str, answer: httpx2.Response, document: Any) -> str:
    if answer.status_code == 401:
        return f"{address} needs a token with the scope admin: give it as --token or SWITCHBOARD_TOKEN"
    problem = document if isinstance(document, dict) else {}
    said = escaped(str(problem.get("detail") or "is it this server?"))
    mistakes = [f"{each.get('where')}: {each.get('reason')}" for each in problem.get("mistakes", ())]
    return "; ".join([f"{address} answered {answer.status_code}: {said}", *map(escaped, mistakes)])
