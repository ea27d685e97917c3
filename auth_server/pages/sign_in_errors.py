"""The page and the log line about a sign-in that the provider or its settings prevent, joined by a reference."""

from __future__ import annotations

import secrets

import structlog

from auth_server.errors import PageRefusal, ProviderMisconfigured
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
REFUSED = {
    "access_denied": "The person was not signed in",
    "server_error": "The identity provider could not sign the person in",
}
"""By the OAuth error that the client is told."""


def noted(event: str, reason: str, **about: str) -> str:
    """Write what happened to the log; the reference by which it is found there."""
    reference = secrets.token_hex(4)
    log.warning(event, reference=reference, reason=reason, **{name: value for name, value in about.items() if value})
    return reference


def sign_in_trouble(error: AuthorizationUnavailable, again: str, client: str = "") -> PageRefusal:
    """The page for a sign-in that the identity provider or its settings prevent."""
    reference = noted("sign-in.failed", str(error), client=client)
    title, message = MISCONFIGURED if isinstance(error, ProviderMisconfigured) else AWAY
    return PageRefusal(title, message, 503, again=again, reference=reference)
