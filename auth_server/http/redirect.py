"""Where browsers are sent: back to a client's verified redirect URI, always with `iss` (RFC 9207), or to ask again."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from auth_server.crypto import pkce_parameters
from auth_server.errors import Refusal
from auth_server.models import Pending
from auth_server.settings import AuthSettings


def see(url: str) -> Response:
    """A redirect that turns a POST into a GET, to an address taken as it is."""
    return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})


def answer(redirect_uri: str, issuer: str, state: str | None, **members: str) -> Response:
    """The authorization response, success or error; the registered URI's own query is kept (RFC 6749 §3.1.2)."""
    return see(_address(redirect_uri, issuer, state, members))


def refused(redirect_uri: str, issuer: str, state: str | None, refusal: Refusal) -> Response:
    """An error response."""
    return see(refused_at(redirect_uri, issuer, state, refusal))


def refused_at(redirect_uri: str, issuer: str, state: str | None, refusal: Refusal) -> str:
    """Where an error response leads."""
    members = {"error": refusal.code, "error_description": refusal.description}
    return _address(redirect_uri, issuer, state, members)


def _address(redirect_uri: str, issuer: str, state: str | None, members: dict[str, str]) -> str:
    found = members | ({"state": state} if state is not None else {}) | {"iss": issuer}
    joint = "&" if "?" in redirect_uri else "?"
    return f"{redirect_uri}{joint}{urlencode(found)}"


def asking_again(settings: AuthSettings, pending: Pending) -> str:
    """The address at which the application's request is asked once more: what it asked is used up by now."""
    asked = {
        "response_type": "code",
        "client_id": pending.client_id,
        "redirect_uri": pending.redirect_uri,
        "scope": pending.scope,
        "resource": pending.resource,
        **pkce_parameters(pending.challenge),
    }
    state = {} if pending.state is None else {"state": pending.state}
    return f"{settings.base}/authorize?{urlencode(asked | state)}"
