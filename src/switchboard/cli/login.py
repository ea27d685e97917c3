"""A token for a developer, by the flow that a real client goes through; a person's clicks are filled in.

401 → protected resource metadata → issuer metadata → dynamic registration → authorize with PKCE → consent → the fake
identity provider → code → token. It works where the pages are ours or as plain; a real identity provider will ask more.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import typer

from switchboard.cli.exit_codes import ending_clearly
from switchboard.cli.forms import Form, first_form
from switchboard.cli.output import AsJson, print_json
from switchboard.errors import SwitchboardError
from switchboard.settings import load_settings

REDIRECT = "http://127.0.0.1:53682/callback"
"""Never listened on: the redirect that carries the code is read, not followed."""

_STEPS = 12
_TIMEOUT = 15.0
_REFUSING = frozenset({"deny", "cancel", "reject", "no", "decline"})
_USER_FIELDS = ("user_id", "user", "username", "login", "sub", "email")


class LoginFailed(SwitchboardError):
    """The flow ended without a token; the message says at which step."""


@dataclass(frozen=True, slots=True)
class _Target:
    resource: str
    scopes: str
    metadata: Mapping[str, Any]


def token(
    user: Annotated[str, typer.Option(help="Whom to sign in as at the fake identity provider.")] = "alice",
    scope: Annotated[str | None, typer.Option(help="Scopes, separated by spaces.")] = None,
    url: Annotated[str | None, typer.Option(help="The server, or with a path its endpoint [BASE_URI/mcp].")] = None,
    as_json: AsJson = False,
) -> None:
    """Print an access token, got by the real flow: discovery, registration, PKCE, consent, sign-in."""
    with ending_clearly():
        target = url or load_settings().mcp_url
        answer = obtain(target, user=user, scope=scope)
        print_json(answer) if as_json else typer.echo(answer["access_token"])


def obtain_token(url: str, *, user: str, scope: str | None = None) -> str:
    """An access token for `user`, as `obtain` gets it."""
    return str(obtain(url, user=user, scope=scope)["access_token"])


def obtain(url: str, *, user: str, scope: str | None = None) -> Mapping[str, Any]:
    """The token response (RFC 6749 §5.1) for `user` at the server (or its endpoint) `url`.

    Raises:
        LoginFailed: a step was refused, or the server cannot be reached.
    """
    endpoint = url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/mcp"
    try:
        with httpx2.Client(timeout=_TIMEOUT) as http:
            return _obtain(http, endpoint, user, scope)
    except httpx2.HTTPError as error:
        raise LoginFailed(f"{endpoint} did not answer: {error}") from error


def _obtain(http: httpx2.Client, endpoint: str, user: str, scope: str | None) -> Mapping[str, Any]:
    target = _discover(http, endpoint)
    scopes = scope if scope is not None else target.scopes
    client = _document(http.post(target.metadata["registration_endpoint"], json=_registration(scopes)), "registration")
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": REDIRECT,
        "scope": scopes,
        "state": state,
        "resource": target.resource,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    shown = http.get(target.metadata["authorization_endpoint"], params={k: v for k, v in query.items() if v})
    code = _code(walk(http, shown, user, REDIRECT), state, target.metadata["issuer"])
    exchange = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": client["client_id"],
        "code_verifier": verifier,
        "resource": target.resource,
    }
    return _document(http.post(target.metadata["token_endpoint"], data=exchange), "token")


def _registration(scopes: str) -> dict[str, Any]:
    return {
        "client_name": "switchboard token",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    } | ({"scope": scopes} if scopes else {})


def _discover(http: httpx2.Client, endpoint: str) -> _Target:
    refused = http.post(endpoint, json={}, headers={"Accept": "application/json, text/event-stream"})
    challenge = _parameters(refused.headers.get("www-authenticate", ""))
    if refused.status_code != 401 or "resource_metadata" not in challenge:
        raise LoginFailed(f"{endpoint} answered {refused.status_code} without a challenge: it needs no token from here")
    resource = _document(http.get(challenge["resource_metadata"]), "protected resource metadata")
    issuer = str(resource["authorization_servers"][0])
    for candidate in _well_known(issuer):
        found = http.get(candidate)
        if found.status_code == 200:
            scopes = challenge.get("scope") or " ".join(resource.get("scopes_supported", ()))
            return _Target(str(resource["resource"]), scopes, found.json())
    raise LoginFailed(f"{issuer} publishes no metadata")


def _well_known(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be: RFC 8414 §3.1 and OpenID Connect Discovery §4."""
    parts = urlsplit(issuer)
    base, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}/.well-known/openid-configuration{path}",
        f"{base}{path}/.well-known/openid-configuration",
    )


def _parameters(challenge: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in challenge.removeprefix("Bearer ").split(", "))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def walk(http: httpx2.Client, shown: httpx2.Response, user: str, callback: str) -> str:
    """Follow redirects and fill in forms until the client is called back; that URL, which begins with `callback`.

    Raises:
        LoginFailed: it is never called back.
    """
    for _ in range(_STEPS):
        location = shown.headers.get("location")
        if location:
            following = urljoin(str(shown.url), location)
            if following.startswith(callback):
                return following
            shown = http.get(following)
            continue
        form = first_form(shown.text) if shown.status_code == 200 else None
        if form is None:
            raise LoginFailed(f"{_place(shown)} answered {shown.status_code} and shows no form")
        shown = _submit(http, str(shown.url), form, user)
    raise LoginFailed(f"no end after {_STEPS} pages; the last was {_place(shown)}")


def _submit(http: httpx2.Client, page: str, form: Form, user: str) -> httpx2.Response:
    filled = form.fields | {name: user for name in form.editable if name in _USER_FIELDS}
    filled |= dict([choice for choice in form.choices if choice[1].lower() not in _REFUSING][:1])
    target = urljoin(page, form.action)
    if form.method == "get":
        return http.get(target, params=filled)
    parts = urlsplit(page)
    return http.post(target, data=filled, headers={"Origin": f"{parts.scheme}://{parts.netloc}"})


def _code(called: str, state: str, issuer: str) -> str:
    said = {name: values[0] for name, values in parse_qs(urlsplit(called).query).items()}
    if "error" in said:
        raise LoginFailed(f"authorization was refused: {said['error']} {said.get('error_description', '')}".rstrip())
    if said.get("state") != state or said.get("iss", issuer) != issuer or "code" not in said:
        raise LoginFailed("the answer carries no code, or is not the answer to this request")
    return said["code"]


def _document(response: httpx2.Response, what: str) -> dict[str, Any]:
    if not response.is_success:
        said = response.json() if "json" in response.headers.get("content-type", "") else {}
        reason = f"{said.get('error', '')} {said.get('error_description', '')}".strip()
        raise LoginFailed(f"{what}: {_place(response)} answered {response.status_code} {reason}".rstrip())
    document: dict[str, Any] = response.json()
    return document


def _place(response: httpx2.Response) -> str:
    """Where we are, without the query: it may hold a code."""
    return str(response.url.copy_with(query=None))
