"""What is read of a browser's request, and redirects, which lead to this server or to where a provider is."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from switchboard.account.errors import PageError
from switchboard.account.sessions import Session

CSRF: Final = "csrf"
"""The form's member that proves that it is of one of our pages."""

MAX_FIELDS: Final = 64

_TWICE: Final = ("That address is not right", "It says something twice. Start again from your application.")
_FOREIGN: Final = (
    "That form is not from here",
    "It came from another site, from somebody else's session, or is too old. Open the page again.",
    403,
)


def single(request: Request) -> dict[str, str]:
    """The parameters of the query.

    Raises:
        PageError: one is there twice, which programs on the way would read differently (RFC 6749 §3.1).
    """
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise PageError(*_TWICE)
    return dict(pairs)


async def own_form(request: Request, session: Session, base_uri: str) -> dict[str, str]:
    """The members of a form that one of our pages made for this session.

    Raises:
        PageError: it was not, or has a member twice, or a file.
    """
    sent_from = request.headers.get("origin")
    if sent_from is not None and sent_from.lower() != origin(base_uri).lower():
        raise PageError(*_FOREIGN)
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
        pairs = form.multi_items()
        members = {name: value for name, value in pairs if not isinstance(value, UploadFile)}
    if len(members) != len(pairs):
        raise PageError(*_TWICE)
    if not session.sent_by(members.pop(CSRF, "")):
        raise PageError(*_FOREIGN)
    return members


def see(url: str) -> Response:
    """A redirect that turns a POST into a GET, to an absolute URL."""
    return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})


def origin(base_uri: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(base_uri)
    return f"{parts.scheme}://{parts.netloc}"


def here(request: Request) -> str:
    """The path and query of a request, to come back to after signing in: of this server, whatever they say."""
    path = quote(request.url.path, safe="/~!$&'()*+,;=:@-._")
    return f"/{path.lstrip('/')}" + (f"?{request.url.query}" if request.url.query else "")


def client_address(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""
