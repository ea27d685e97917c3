"""Where each scenario is: its endpoint, its issuer, and the metadata of both, below one host.

An issuer is the address of its scenario, in a run or outside of one: `/lab/NAME`, `/lab/run/ID/NAME`. Its endpoint is
`/mcp` below that. Metadata are where RFC 9728 §3.1 and RFC 8414 §3.1 have them for such addresses, with the path put
after `/.well-known/…`; and, as OpenID Connect Discovery has it, at the end of the issuer's path. A second issuer,
where a scenario has one, is at `/second` below the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from switchboard.lab.hops import Place
from switchboard.lab.scenarios import BY_NAME, Scenario
from switchboard.lab.scenarios.model import APPENDED_OPENID

JWKS: Final = "jwks"
"""The kind of an issuer's keys: there are none to see."""

ELSEWHERE: Final = "elsewhere"
"""The kind of resource metadata that are at no well-known address."""

SECOND: Final = "second"
"""The party of a scenario's second issuer."""

OPEN: Final = "open"
"""The run of requests to `/lab/NAME`, which name none."""

_WELL_KNOWN: Final = {
    "oauth-protected-resource": Place.RESOURCE_METADATA,
    "oauth-authorization-server": Place.ISSUER_METADATA,
    "openid-configuration": Place.ISSUER_METADATA,
}
_BELOW: Final = {
    "/mcp": Place.MCP,
    "/register": Place.REGISTER,
    "/authorize": Place.AUTHORIZE,
    "/token": Place.TOKENS,
    "/jwks": Place.ISSUER_METADATA,
    "/.well-known/openid-configuration": Place.ISSUER_METADATA,
    "/resource-metadata": Place.RESOURCE_METADATA,
    "/idp/.well-known/openid-configuration": Place.COMPANY,
    "/idp/authorize": Place.COMPANY,
    "/idp/token": Place.COMPANY,
    "/idp/jwks": Place.COMPANY,
}
_KINDS: Final = {
    "/.well-known/openid-configuration": APPENDED_OPENID,
    "/jwks": JWKS,
    "/resource-metadata": ELSEWHERE,
    "/idp/.well-known/openid-configuration": "metadata",
    "/idp/authorize": "authorize",
    "/idp/token": "token",
    "/idp/jwks": "keys",
}
_OF_RESOURCE: Final = frozenset({Place.MCP, Place.RESOURCE_METADATA, Place.COMPANY})
_RUN_ID: Final = r"[A-Za-z0-9_-]{4,64}"


@dataclass(frozen=True, slots=True)
class Address:
    """What one request is about."""

    run: str
    scenario: Scenario
    place: Place
    kind: str = ""
    """Of metadata: the name after `/.well-known/`, `APPENDED_OPENID`, `JWKS` or `ELSEWHERE`."""

    party: str = ""
    """Which issuer: the first, or `SECOND`."""


def parties(scenario: Scenario) -> Sequence[str]:
    """The issuers of a scenario."""
    return ("",) if scenario.behaviour.discovery.issuers == "one" else ("", SECOND)


class Addresses:
    """Finds what a path is about, and says where things are.

    Args:
        base_uri: of this server.
    """

    def __init__(self, base_uri: str) -> None:
        self._base = base_uri
        at = re.escape(urlsplit(base_uri).path) + rf"/lab(?:/run/(?P<run>{_RUN_ID}))?/(?P<name>[a-z0-9-]+)"
        below = "|".join(map(re.escape, _BELOW))
        kinds = "|".join(_WELL_KNOWN)
        at += rf"(?:/(?P<party>{SECOND}))?"
        self._own = re.compile(rf"{at}(?P<below>{below})")
        self._inserted = re.compile(rf"/\.well-known/(?P<kind>{kinds}){at}(?P<mcp>/mcp)?")

    def find(self, path: str) -> Address | None:
        """What a path is about; nothing of the lab's if there is no such scenario or place."""
        if (found := self._own.fullmatch(path)) is not None:
            place, kind = _BELOW[found["below"]], _KINDS.get(found["below"], "")
        elif (found := self._inserted.fullmatch(path)) is not None:
            place, kind = _WELL_KNOWN[found["kind"]], found["kind"]
            if (place is Place.RESOURCE_METADATA) != bool(found["mcp"]):
                return None
        else:
            return None
        scenario, party = BY_NAME.get(found["name"]), found["party"] or ""
        if scenario is None or (party and (place in _OF_RESOURCE or party not in parties(scenario))):
            return None
        return Address(found["run"] or OPEN, scenario, place, kind, party)

    def issuer(self, run: str, name: str, party: str = "") -> str:
        """An issuer of a scenario."""
        first = f"{self._base}/lab/{name}" if run == OPEN else f"{self._base}/lab/run/{run}/{name}"
        return f"{first}/{party}" if party else first

    def company(self, run: str, name: str) -> str:
        """The identity provider of the company, where a scenario has one."""
        return f"{self.issuer(run, name)}/idp"

    def endpoint(self, run: str, name: str) -> str:
        """The MCP endpoint of a scenario: also the resource that its tokens are for."""
        return f"{self.issuer(run, name)}/mcp"

    def page(self, run: str) -> str:
        """Where a person sees what happened in a run."""
        return f"{self._base}/lab/run/{run}"

    def resource_metadata(self, run: str, name: str, *, elsewhere: bool = False) -> str:
        """Where the metadata of that resource are, or another address for them that is not well known."""
        if elsewhere:
            return f"{self.issuer(run, name)}/resource-metadata"
        parts = urlsplit(self.endpoint(run, name))
        return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
