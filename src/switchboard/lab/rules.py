"""The judge: which rules a client met, broke, or had no occasion for, in the hops of one scenario.

A rule is a function from the hops to the first that broke it and to whether there was an occasion at all; the table at
the end names each with its source. A scenario lists the rules that apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from switchboard.lab.hops import Hop, Place

State = Literal["met", "broken", "not_seen"]
Verdict = Literal["passed", "failed", "not_tried"]
Finding = tuple[State, Hop | None, str]
"""How it stands, the hop that shows it, and why."""

SPECIFICATION: Final = "https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its text, where it is written, and what decides it."""

    text: str
    url: str
    decide: Callable[[Sequence[Hop]], Finding]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one rule in a run."""

    rule: str
    state: State
    hop: int | None
    why: str


def judge(rules: Sequence[str], hops: Sequence[Hop]) -> Sequence[Judgement]:
    """One judgement for each of `rules`, names of rows of `RULES`."""
    judged = []
    for name in rules:
        state, hop, why = RULES[name].decide(hops)
        judged.append(Judgement(name, state, hop.number if hop else None, why))
    return judged


def verdict(judgements: Sequence[Judgement]) -> Verdict:
    """Failed if one rule is broken; passed if the first, which the scenario is about, was met; else not tried."""
    if any(judgement.state == "broken" for judgement in judgements):
        return "failed"
    return "passed" if judgements and judgements[0].state == "met" else "not_tried"


_METHODS: Final[Mapping[Place, str]] = {Place.AUTHORIZE: "GET", Place.TOKENS: "POST", Place.REGISTER: "POST"}
"""What a client does there. A person's answer to the page of /authorize is a POST, and no request of the client."""


def _at(hops: Sequence[Hop], *places: Place) -> Sequence[Hop]:
    """What the client itself did at these places."""
    return [hop for hop in hops if hop.place in places and hop.method in ("", _METHODS.get(hop.place, hop.method))]


def _each(hops: Sequence[Hop], fault: Callable[[Hop], str]) -> Finding:
    """Broken by the first hop with a fault, not seen without hops."""
    for hop in hops:
        if why := fault(hop):
            return "broken", hop, why
    return ("met", hops[-1], "every such request was right") if hops else ("not_seen", None, "no such request was made")


def _pkce(hops: Sequence[Hop]) -> Finding:
    def fault(hop: Hop) -> str:
        right = hop.sent.get("code_challenge") and hop.sent.get("code_challenge_method") == "S256"
        return "" if right else "no code_challenge with code_challenge_method=S256"

    return _each(_at(hops, Place.AUTHORIZE), fault)


def _resource(hops: Sequence[Hop]) -> Finding:
    asked = _at(hops, Place.AUTHORIZE, Place.TOKENS)
    return _each(asked, lambda hop: "" if hop.sent.get("resource") else f"no resource parameter at {hop.place}")


def _never(place: Place, seen_at: Place, why: str) -> Callable[[Sequence[Hop]], Finding]:
    def decide(hops: Sequence[Hop]) -> Finding:
        if went := _at(hops, place):
            return "broken", went[0], why
        seen = _at(hops, seen_at)
        return ("met", seen[-1], "the client stopped") if seen else ("not_seen", None, f"{seen_at} was not asked")

    return decide


def _refreshes(hops: Sequence[Hop]) -> Finding:
    for position, hop in enumerate(hops):
        if hop.place is Place.MCP and hop.status == 401 and hop.sent.get("token"):
            for later in hops[position + 1 :]:
                if later.place is Place.TOKENS and later.sent.get("grant_type") == "refresh_token":
                    return "met", later, "the expired token was refreshed"
                if later.place is Place.AUTHORIZE and later.method in ("", "GET"):
                    return "broken", later, "the person was asked again, though there was a refresh token"
            return "broken", hop, "the client gave up after the 401"
    refreshed = [hop for hop in _at(hops, Place.TOKENS) if hop.sent.get("grant_type") == "refresh_token"]
    if refreshed:
        return "met", refreshed[0], "the token was refreshed before it expired"
    return "not_seen", None, "no token expired"


def _steps_up(hops: Sequence[Hop]) -> Finding:
    for position, hop in enumerate(hops):
        if hop.place is Place.MCP and hop.status == 403 and hop.answered.get("error") == "insufficient_scope":
            needed = set(hop.answered.get("scope", "").split())
            later = _at(hops[position + 1 :], Place.AUTHORIZE)
            if not later:
                return "broken", hop, "no authorization was asked for after insufficient_scope"
            if missing := needed - set(later[0].sent.get("scope", "").split()):
                return "broken", later[0], f"scope lacks {' '.join(sorted(missing))}"
            return "met", later[0], "the scopes of the challenge were asked for"
    return "not_seen", None, "no call needed another scope"


MAX_STEP_UPS: Final = 3
"""After as many attempts a client that still asks for the same scope does not stop."""


def _stops_stepping_up(hops: Sequence[Hop]) -> Finding:
    refused = [hop for hop in _at(hops, Place.MCP) if hop.status == 403]
    if not refused:
        return "not_seen", None, "no call needed another scope"
    asked = [hop for hop in _at(hops, Place.AUTHORIZE) if hop.number > refused[0].number]
    if len(asked) > MAX_STEP_UPS:
        return "broken", asked[MAX_STEP_UPS], f"asked {len(asked)} times for a scope that is never granted"
    return "met", refused[-1], "the client stopped"


def _no_token_in_query(hops: Sequence[Hop]) -> Finding:
    return _each(_at(hops, Place.MCP), lambda hop: "a token in the query" if hop.sent.get("access_token") else "")


RULES: Final[Mapping[str, Rule]] = {
    "pkce": Rule("PKCE with S256", f"{SPECIFICATION}#authorization-code-protection", _pkce),
    "resource": Rule(
        "`resource` in authorization and token requests",
        f"{SPECIFICATION}#resource-parameter-implementation",
        _resource,
    ),
    "header-only": Rule("Tokens in the header alone", f"{SPECIFICATION}#token-requirements", _no_token_in_query),
    "refreshes": Rule("An expired token is refreshed", "https://www.rfc-editor.org/rfc/rfc6749#section-6", _refreshes),
    "steps-up": Rule(
        "Step-up asks for the challenged scopes", f"{SPECIFICATION}#step-up-authorization-flow", _steps_up
    ),
    "step-up-ends": Rule(
        "Step-up is tried a few times only", f"{SPECIFICATION}#step-up-authorization-flow", _stops_stepping_up
    ),
    "refuses-without-s256": Rule(
        "No authorization where S256 is not advertised",
        f"{SPECIFICATION}#authorization-code-protection",
        _never(Place.AUTHORIZE, Place.ISSUER_METADATA, "authorization was asked for without S256 being advertised"),
    ),
    "refuses-wrong-resource": Rule(
        "Resource metadata that names another resource is not used",
        "https://www.rfc-editor.org/rfc/rfc9728#section-3.3",
        _never(Place.AUTHORIZE, Place.RESOURCE_METADATA, "metadata of another resource was used"),
    ),
    "refuses-wrong-issuer": Rule(
        "Issuer metadata that names another issuer is not used",
        "https://www.rfc-editor.org/rfc/rfc8414#section-3.3",
        _never(Place.AUTHORIZE, Place.ISSUER_METADATA, "metadata of another issuer was used"),
    ),
    "refuses-wrong-iss": Rule(
        "A code that came with a wrong or missing `iss` is not redeemed",
        "https://www.rfc-editor.org/rfc/rfc9207#section-2.4",
        _never(Place.TOKENS, Place.AUTHORIZE, "the code was redeemed, though iss was wrong"),
    ),
    "refuses-wrong-state": Rule(
        "A code that came with a wrong `state` is not redeemed",
        "https://www.rfc-editor.org/rfc/rfc6749#section-10.12",
        _never(Place.TOKENS, Place.AUTHORIZE, "the code was redeemed, though state was wrong"),
    ),
}
