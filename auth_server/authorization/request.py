"""What an authorization request must be, as a table of steps. Pure.

These run once the client and its redirect URI are verified: what they refuse, the client is told by redirect.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from auth_server.authorization import resource_indicators, scope_policy
from auth_server.crypto import PKCE_METHOD, is_pkce_value
from auth_server.errors import RedirectRefusal
from auth_server.models import AUTHORIZATION_CODE, Client, Pending
from auth_server.params import Params
from auth_server.settings import AuthSettings

MAX_STATE = 4_096
"""Bytes, as it is kept: what is not ASCII takes more than one for each character."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request whose client and redirect URI are verified."""

    client: Client
    redirect_uri: str
    params: Params
    settings: AuthSettings


def _once(asked: AuthorizationRequest) -> None:
    asked.params.refuse_repeated()


def _no_request_object(asked: AuthorizationRequest) -> None:
    for name in ("request", "request_uri"):
        if asked.params.get(name):
            raise RedirectRefusal(f"{name}_not_supported", f"{name} is not supported")


def _response_type(asked: AuthorizationRequest) -> None:
    if asked.params.require("response_type") != "code":
        raise RedirectRefusal("unsupported_response_type", "response_type must be code")


def _response_mode(asked: AuthorizationRequest) -> None:
    if asked.params.get("response_mode") not in ("", "query"):
        raise RedirectRefusal("invalid_request", "response_mode must be query")


def _grant_type(asked: AuthorizationRequest) -> None:
    if AUTHORIZATION_CODE not in asked.client.grant_types:
        raise RedirectRefusal("unauthorized_client", "this client may not use the authorization code grant")


def _challenge(asked: AuthorizationRequest) -> None:
    if asked.params.get("code_challenge_method") != PKCE_METHOD:
        raise RedirectRefusal("invalid_request", "PKCE is required: code_challenge_method must be S256")
    if not is_pkce_value(asked.params.require("code_challenge")):
        raise RedirectRefusal("invalid_request", "code_challenge is not well-formed")


def _prompt(asked: AuthorizationRequest) -> None:
    if asked.params.get("prompt") == "none":
        raise RedirectRefusal("interaction_required", "consent is asked for every time")


def _state(asked: AuthorizationRequest) -> None:
    if _is_too_long(asked.params.get("state")):
        raise RedirectRefusal("invalid_request", "state is too long")


STEPS: tuple[Callable[[AuthorizationRequest], None], ...] = (
    _once,
    _state,
    _no_request_object,
    _response_type,
    _response_mode,
    _grant_type,
    _challenge,
    _prompt,
)
"""What must hold of a request whose errors its client may see, in the order they are reported."""


def checked(asked: AuthorizationRequest, browser_mark: str, now: float) -> Pending:
    """The request as it is remembered while the person consents and signs in."""
    for step in STEPS:
        step(asked)
    settings, params, client = asked.settings, asked.params, asked.client
    # A self-registered scope is a default, not a limit: any client could have registered any, and step-up means asking
    # for more later. For clients known by settings it is a limit.
    supported = client.scope.split() if client.trusted else settings.scopes
    return Pending(
        client_id=client.id,
        redirect_uri=asked.redirect_uri,
        challenge=params.get("code_challenge"),
        scope=scope_policy.granted(
            params.get("scope"), supported, client.scope or " ".join(settings.default_scopes), settings.scopes
        ),
        resource=resource_indicators.resource(params.resources, settings.resources),
        state=params.values.get("state"),
        browser=browser_mark,
        started=now,
    )


def echoed_state(params: Params) -> str | None:
    """The state an error may carry back: none when it is ambiguous or too long."""
    state = params.values.get("state")
    return None if "state" in params.repeated or state is None or _is_too_long(state) else state


def _is_too_long(state: str) -> bool:
    return len(json.dumps(state)) - len('""') > MAX_STATE
