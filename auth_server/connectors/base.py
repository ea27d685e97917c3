"""The protocol of a connector, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from auth_server.errors import SignInRefused
from auth_server.models import Identity
from switchboard.common.visible_text import excerpt

CALLBACK_PATH = "/upstream/callback"
"""Where the identity provider sends people back to, below the issuer."""


def provider_error(said: Mapping[str, Any]) -> str:
    """What an identity provider said of an error, for the log: its code and description; or nothing."""
    named = (said.get(name) for name in ("error", "error_description"))
    return excerpt(": ".join(each for each in named if isinstance(each, str) and each))


def check_error(params: Mapping[str, str], provider: str) -> None:
    """Refuse a callback that brings an error instead of a code.

    Raises:
        SignInRefused: it does.
    """
    if params.get("error"):
        code = "access_denied" if params["error"] == "access_denied" else "server_error"
        raise SignInRefused(code, f"{provider} refused: {provider_error(params)}")


@dataclass(frozen=True, slots=True)
class LoginRedirect:
    """Where to send the browser, and what to remember until it comes back."""

    url: str
    kept: dict[str, Any] = field(default_factory=dict)


class Connector(Protocol):
    """Signs people in."""

    async def begin(self, state: str) -> LoginRedirect:
        """Start a login that comes back with `state`."""
        ...

    async def finish(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> Identity:
        """Who came back, from the callback's parameters and what `begin` kept.

        Raises:
            SignInRefused: the person was not signed in.
            AuthorizationUnavailable: the identity provider cannot be asked now.
        """
        ...

    async def renew(self, kept: str) -> Identity:
        """Ask again, at refresh, about the person with this `Identity.kept` (never empty).

        Raises:
            SignInRefused: the person may not sign in any more.
            AuthorizationUnavailable: the identity provider cannot be asked now.
        """
        ...

    async def logged_out(self, token: str) -> str | None:
        """The alias that a back-channel logout token ends, or `None` when the token is not good.

        https://openid.net/specs/openid-connect-backchannel-1_0.html
        """
        ...

    def routes(self) -> Sequence[Route]:
        """Pages that the connector serves itself, if it has any."""
        ...
