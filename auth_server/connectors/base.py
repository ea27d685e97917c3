"""The seam between this server and whoever signs people in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from switchboard.errors import AuthorizationUnavailable


class UpstreamRefusal(Exception):
    """The upstream did not sign the person in. `code` is the OAuth error the client is told."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class UpstreamMisconfigured(AuthorizationUnavailable):
    """The upstream answers, but does not know us, or is not the one that the settings name: trying again is no help."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and what to remember until it comes back."""

    url: str
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """A signed-in person. `subject` is stable and never an e-mail address that could change hands."""

    subject: str
    kept: str = ""
    """What the upstream needs to be asked again at refresh."""
    scopes: frozenset[str] | None = None
    """What this person may grant; `None` for everything."""
    aliases: tuple[str, ...] = ()
    """What else the upstream calls the person or this login, for its own logout."""


class Upstream(Protocol):
    """Signs people in."""

    async def begin(self, state: str) -> Departure:
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
