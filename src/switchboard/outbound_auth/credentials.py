"""The seam between a backend's connections and how they are authorized: one object for each backend.

Every way to a backend passes it: calls, lists, prompts, resources and completion, the streams, the end of a session,
and the environment of a child. What a client sent (its token, its cookies, its identity headers) never passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from switchboard.identity.principal import Caller

GATEWAY: Final = ""
"""The person that stands for the gateway itself: discovery, and connections that everybody shares."""

ACCESS_STATUSES: Final = frozenset({401, 403})
"""Answers of a server to a credential that it does not accept."""


class OutboundCredentials(Protocol):
    """What opens one backend. A person is the JSON array `[issuer, subject]`, or `GATEWAY`.

    Nothing is remembered between calls that the vault could tell: a credential that was revoked is refused by the next.
    The `repr` is equal for equal configurations on every worker, and has no secret in it.
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


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """The credentials of a backend that wants none. Satisfies `OutboundCredentials`."""

    per_person: bool = False

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


NO_CREDENTIALS: Final = NoCredentials()
"""Nothing is asked of it: a backend's requests are sent as they are."""


@dataclass(frozen=True, slots=True)
class PersonCredentials:
    """What one connection carries: the credentials of its backend, for its person or `GATEWAY`."""

    source: OutboundCredentials
    person: str

    async def headers(self) -> Mapping[str, str]:
        """What its next HTTP request carries.

        Raises:
            CredentialUnavailable: there is none.
        """
        return await self.source.headers(self.person)

    async def environment(self) -> Mapping[str, str]:
        """What its child gets.

        Raises:
            CredentialUnavailable: there is none.
        """
        return await self.source.environment(self.person)

    async def rejected(self, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """Whether to send a request once more, which carried `sent` and was refused."""
        return await self.source.rejected(self.person, sent, status, www_authenticate)


def carried(credentials: OutboundCredentials, person: str) -> PersonCredentials | None:
    """What a connection of a person's, or of `GATEWAY`, carries; `None` where nothing is added to any request."""
    return None if credentials is NO_CREDENTIALS else PersonCredentials(credentials, person)
