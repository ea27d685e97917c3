"""Trouble that only the operator can end: a line in the log, and a page that names it and lets the person try again."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

import structlog

from auth_server.connectors.base import UpstreamMisconfigured
from auth_server.errors import PageRefusal
from auth_server.models import Pending
from auth_server.settings import AuthSettings
from switchboard.errors import AuthorizationUnavailable

log = structlog.get_logger("auth_server")

AWAY = (
    "Signing in does not work right now",
    "The identity provider, where people sign in, did not answer. You have not been signed in.",
)
MISCONFIGURED = (
    "Signing in does not work here yet",
    "This server and the identity provider, where people sign in, are not set up for each other. You have not been"
    " signed in, and trying again helps only after somebody has mended that.",
)


def noted(event: str, reason: str, **about: str) -> str:
    """Write what happened to the log; the reference by which it is found there."""
    reference = secrets.token_hex(4)
    log.warning(event, reference=reference, reason=reason, **{name: value for name, value in about.items() if value})
    return reference


def sign_in_trouble(error: AuthorizationUnavailable, again: str, client: str = "") -> PageRefusal:
    """The page for a sign-in that the identity provider or its settings prevent."""
    reference = noted("sign-in.failed", str(error), client=client)
    title, message = MISCONFIGURED if isinstance(error, UpstreamMisconfigured) else AWAY
    return PageRefusal(title, message, 503, again=again, reference=reference)


def asking_again(settings: AuthSettings, pending: Pending) -> str:
    """The address at which the application's request is asked once more: what it asked is used up by now."""
    asked = {
        "response_type": "code",
        "client_id": pending.client_id,
        "redirect_uri": pending.redirect_uri,
        "scope": pending.scope,
        "resource": pending.resource,
        "code_challenge": pending.challenge,
        "code_challenge_method": "S256",
    }
    state = {} if pending.state is None else {"state": pending.state}
    return f"{settings.base}/authorize?{urlencode(asked | state)}"
