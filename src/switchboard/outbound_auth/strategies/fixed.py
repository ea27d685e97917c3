"""`service` with a credential that is written down: static headers, an API key, HTTP basic."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from switchboard.config import ServiceAuth
from switchboard.identity import Caller


@dataclass(frozen=True, slots=True)
class FixedCredential:
    """The same for every request. Satisfies `OutboundCredentials`."""

    sent: Mapping[str, str] = field(repr=False)
    """The headers of HTTP requests."""

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables of a child."""

    per_person: bool = False

    async def prepare(self, caller: Caller) -> None:
        """It is there."""

    async def headers(self, person: str) -> Mapping[str, str]:
        """The headers."""
        return self.sent

    async def environment(self, person: str) -> Mapping[str, str]:
        """The variables."""
        return self.given

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """There is no other."""
        return False


def fixed(auth: ServiceAuth, variable: str | None) -> FixedCredential:
    """The credential that a configuration writes down.

    Args:
        variable: the variable of a child's environment that has it; `None` for a server with a URL.
    """
    if auth.username is not None:
        pair = base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode("ascii")
        return FixedCredential({"authorization": f"Basic {pair}"})
    if auth.headers:
        return FixedCredential({name.lower(): value for name, value in auth.headers.items()})
    key = auth.api_key or ""
    if variable is not None:
        return FixedCredential({}, {variable: key})
    return FixedCredential({auth.header.lower(): key} if auth.header else {"authorization": f"Bearer {key}"})
