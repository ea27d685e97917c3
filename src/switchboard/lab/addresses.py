"""Where each scenario is: its endpoint, its issuer, and the metadata of both, below one host.

An issuer is the address of its scenario, in a run or outside of one: `/lab/NAME`, `/lab/run/ID/NAME`. Its endpoint is
`/mcp` below that. Metadata are where RFC 9728 §3.1 and RFC 8414 §3.1 have them for such addresses, with the path put
after `/.well-known/…`; and, as OpenID Connect Discovery has it, at the end of the issuer's path. A second issuer,
where a scenario has one, is at `/second` below the first.

Scenarios about what belongs to the root of a host are at the lab's own origin, another one of the same server, and at
no other. Its root is that of the scenario that holds the origin (`holding.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

NAMED: Final = "named"
"""The party of an issuer that only its metadata at the root lead to."""

NOWHERE: Final = "nowhere"
"""The kind of metadata that are nowhere: an issuer's at the address of the endpoint, a resource's at the issuer's."""

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
_ROOT: Final[Mapping[str, tuple[Place, str]]] = {
    **{f"/.well-known/{kind}": (place, kind) for kind, place in _WELL_KNOWN.items()},
    "/register": (Place.REGISTER, ""),
    "/authorize": (Place.AUTHORIZE, ""),
    "/token": (Place.TOKENS, ""),
}
_AT_ROOT: Final[Mapping[str, frozenset[Place]]] = {
    "": frozenset(),
    "resource metadata": frozenset({Place.RESOURCE_METADATA}),
    "issuer metadata": frozenset({Place.ISSUER_METADATA}),
    "endpoints": frozenset({Place.REGISTER, Place.AUTHORIZE, Place.TOKENS}),
}
"""What a scenario has at the root."""

_NOT_BELOW: Final[Mapping[str, frozenset[Place]]] = {
    "": frozenset(),
    "resource metadata": frozenset({Place.RESOURCE_METADATA}),
    "issuer metadata": frozenset({Place.RESOURCE_METADATA, Place.ISSUER_METADATA}),
    "endpoints": frozenset(set(Place) - {Place.MCP}),
}
"""What it therefore has not below."""
_RUN_ID: Final = r"[A-Za-z0-9_-]{4,64}"


@dataclass(frozen=True, slots=True)
class Address:
    """What one request is about."""

    run: str
    scenario: Scenario
    place: Place
    kind: str = ""
    """Of metadata: the name after `/.well-known/`, `APPENDED_OPENID`, `JWKS`, `ELSEWHERE` or `NOWHERE`."""

    party: str = ""
    """Which issuer: the first, `SECOND` or `NAMED`."""

    root: bool = False
    """Whether it is at the root of the lab's own origin."""

    @property
    def exists(self) -> bool:
        """Whether the scenario has anything there; what it has not is 404, and kept as what a client asked for."""
        at_root = self.scenario.behaviour.discovery.at_root
        if self.root:
            return self.place in _AT_ROOT[at_root]
        strange = self.party not in parties(self.scenario) and self.place not in _OF_RESOURCE
        return self.kind != NOWHERE and self.place not in _NOT_BELOW[at_root] and not strange


ROOT: Final = frozenset(_ROOT)
"""The paths at the root of the lab's own origin that are the lab's."""


def parties(scenario: Scenario) -> Sequence[str]:
    """The issuers of a scenario."""
    if scenario.behaviour.discovery.at_root == "issuer metadata":
        return (NAMED,)
    return ("",) if scenario.behaviour.discovery.issuers == "one" else ("", SECOND)


class _Paths:
    """The paths of the scenarios below one prefix."""

    def __init__(self, prefix: str) -> None:
        at = re.escape(prefix) + rf"/lab(?:/run/(?P<run>{_RUN_ID}))?/(?P<name>[a-z0-9-]+)"
        below, kinds = "|".join(map(re.escape, _BELOW)), "|".join(_WELL_KNOWN)
        at += rf"(?:/(?P<party>{SECOND}|{NAMED}))?"
        self._own = re.compile(rf"{at}(?P<below>{below})")
        self._inserted = re.compile(rf"/\.well-known/(?P<kind>{kinds}){at}(?P<mcp>/mcp)?")

    def find(self, path: str) -> Address | None:
        if (found := self._own.fullmatch(path)) is not None:
            place, kind = _BELOW[found["below"]], _KINDS.get(found["below"], "")
        elif (found := self._inserted.fullmatch(path)) is not None:
            place, kind = _WELL_KNOWN[found["kind"]], found["kind"]
            if (place is Place.RESOURCE_METADATA) != bool(found["mcp"]):
                kind = NOWHERE
        else:
            return None
        scenario, party = BY_NAME.get(found["name"]), found["party"] or ""
        if scenario is None or (party and (place in _OF_RESOURCE or party not in parties(scenario))):
            return None
        return Address(found["run"] or OPEN, scenario, place, kind, party)


class Addresses:
    """Finds what a path is about, and says where things are.

    Args:
        base_uri: of this server.
        origin: the lab's own; `None` where there is none, and its scenarios are not offered.
    """

    def __init__(self, base_uri: str, origin: str | None = None) -> None:
        self._base = base_uri
        self.origin = origin
        self._at_base = _Paths(urlsplit(base_uri).path)
        self._at_origin = _Paths("")

    def offers(self, scenario: Scenario) -> bool:
        """Whether a scenario can be tried here."""
        return self.origin is not None or not scenario.own_origin

    def find(self, path: str) -> Address | None:
        """What a path of this server is about; nothing of the lab's if there is no such scenario or place."""
        found = self._at_base.find(path)
        return None if found is None or found.scenario.own_origin or found.kind == NOWHERE else found

    def find_at_origin(self, path: str) -> Address | None:
        """The same for a path of the lab's own origin, but for its root."""
        found = self._at_origin.find(path)
        return found if found is not None and found.scenario.own_origin else None

    def at_root(self, path: str, run: str, name: str) -> Address:
        """What a path of `ROOT` is about, for the scenario of a run that holds the origin."""
        place, kind = _ROOT[path]
        return Address(run, BY_NAME[name], place, kind, root=True)

    def home(self, run: str, name: str, party: str = "") -> str:
        """What the addresses of an issuer begin with: its identifier, unless that is the origin."""
        base = self.origin if BY_NAME[name].own_origin and self.origin is not None else self._base
        first = f"{base}/lab/{name}" if run == OPEN else f"{base}/lab/run/{run}/{name}"
        return f"{first}/{party}" if party else first

    def issuer(self, run: str, name: str, party: str = "") -> str:
        """The identifier of an issuer of a scenario."""
        at_root = BY_NAME[name].behaviour.discovery.at_root in ("issuer metadata", "endpoints")
        return self.origin if at_root and self.origin is not None else self.home(run, name, party)

    def company(self, run: str, name: str) -> str:
        """The identity provider of the company, where a scenario has one."""
        return f"{self.home(run, name)}/idp"

    def endpoint(self, run: str, name: str) -> str:
        """The MCP endpoint of a scenario: also the resource that its tokens are for."""
        return f"{self.home(run, name)}/mcp"

    def page(self, run: str) -> str:
        """Where a person sees what happened in a run."""
        return f"{self._base}/lab/run/{run}"

    def resource_metadata(self, run: str, name: str, *, elsewhere: bool = False) -> str:
        """Where the metadata of that resource are, or another address for them that is not well known."""
        if elsewhere:
            return f"{self.home(run, name)}/resource-metadata"
        parts = urlsplit(self.endpoint(run, name))
        return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
