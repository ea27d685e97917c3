"""The seam between a backend's connections and how they are authorized: one object for each backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from switchboard.identity.principal import Caller

GATEWAY: Final = ""
"""The person that stands for the gateway itself: discovery, and connections that everybody shares."""


class OutboundCredentials(Protocol):
    """What opens one backend. A person is the JSON array `[issuer, subject]`, or `GATEWAY`.

    Nothing is remembered between calls that the vault could tell: a credential that was revoked is refused by the next.
    """

    @property
    def per_person(self) -> bool:
        """Whether people have credentials of their own, so that connections must not be shared."""
        ...

    async def prepare(self, caller: Caller) -> None:
        """Before a call is forwarded, while the caller can still be asked for something.

        Raises:
            NotConnected: this person has to connect first.
            CredentialUnavailable: there is none to be had now.
        """
        ...

    async def headers(self, person: str) -> Mapping[str, str]:
        """What to add to one HTTP request; asked for each. Raises as `prepare`."""
        ...

    async def environment(self, person: str) -> Mapping[str, str]:
        """What to add to the environment of a stdio child. Raises as `prepare`."""
        ...

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """The backend refused a request (401, 403) that had these headers: whether to try once more, with new ones."""
        ...


class NoCredentials:
    """The credentials of a backend that wants none. Satisfies `OutboundCredentials`."""

    per_person = False

    async def prepare(self, caller: Caller) -> None:
        """Nothing to do."""

    async def headers(self, person: str) -> Mapping[str, str]:
        """None."""
        return {}

    async def environment(self, person: str) -> Mapping[str, str]:
        """None."""
        return {}

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """There are no others to try."""
        return False
