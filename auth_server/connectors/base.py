"""The seam between this server and whoever signs people in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from auth_server.models import Identity


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
            UpstreamRefusal: nobody was signed in.
            AuthorizationUnavailable: the upstream cannot be asked now.
        """
        ...

    async def renew(self, kept: str) -> Identity:
        """Ask again, at refresh, about somebody who signed in with `Identity.kept` (never empty).

        Raises:
            UpstreamRefusal: the person is not welcome any more.
            AuthorizationUnavailable: the upstream cannot be asked now.
        """
        ...

    async def logged_out(self, token: str) -> str | None:
        """The alias that a back-channel logout token ends, or `None` when the token is not good.

        https://openid.net/specs/openid-connect-backchannel-1_0.html
        """
        ...

    def routes(self) -> Sequence[Route]:
        """Pages of the upstream's own, if it has any."""
        ...
