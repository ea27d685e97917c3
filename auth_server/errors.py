"""What an OAuth request can be refused with.

Refusal                       an OAuth error: JSON from an API endpoint
├── InvalidClient             401 with a challenge (RFC 6749 §5.2)
└── RedirectRefusal           goes back to the client's verified redirect URI
PageRefusal                   shown to the person: there is no verified address to send them to
SignInRefused                 the identity provider did not sign the person in
ProviderMisconfigured         it answers, but not as the settings expect: trying again is no help
"""

from __future__ import annotations

from dataclasses import dataclass, field

from switchboard.errors import AuthorizationUnavailable


@dataclass(eq=False)
class Refusal(Exception):
    """An error response in the terms of the RFC that defines the endpoint."""

    code: str
    description: str
    status: int = 400
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, str]:
        """The JSON members of RFC 6749 §5.2."""
        return {"error": self.code, "error_description": self.description}


class InvalidClient(Refusal):
    """Client authentication failed, or the client does not exist."""

    def __init__(self, description: str = "client authentication failed") -> None:
        # RFC 6749 §5.2 asks for the challenge when the Authorization header was used; it does no harm otherwise.
        super().__init__("invalid_client", description, 401, {"WWW-Authenticate": 'Basic realm="auth"'})


class RedirectRefusal(Refusal):
    """An error that the client may be told about by redirect, because its redirect URI is verified."""


@dataclass(eq=False)
class PageRefusal(Exception):
    """An error only the person may see: redirecting would make this server an open redirector (RFC 9700 §4.11)."""

    title: str
    message: str
    status: int = 400
    onward: str = ""
    """Where a link leads that the person may follow, if there is a verified address after all."""
    again: str = ""
    """Where a link leads that tries again, on this server."""
    reference: str = ""
    """What the log has a line with, for the operator."""


class SignInRefused(Exception):
    """The identity provider did not sign the person in. `code` is the OAuth error the client is told."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class ProviderMisconfigured(AuthorizationUnavailable):
    """The identity provider answers, but does not know this server, or is another than the settings name."""
