"""What a rule is, and how one is decided from the hops of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from switchboard.lab.hops import Hop, Place

State = Literal["met", "broken", "not_seen"]
Verdict = Literal["passed", "failed", "not_tried"]
Finding = tuple[State, Hop | None, str]
"""How it stands, the hop that shows it, and why."""

Decide = Callable[[Sequence[Hop], bool], Finding]
"""From the hops, and whether the client has ended: what it has not done by then it does not do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its text, where it is written, and what decides it."""

    text: str
    url: str
    decide: Decide


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one rule in a run."""

    rule: str
    state: State
    hop: int | None
    why: str


def judge(rules: Mapping[str, Rule], names: Sequence[str], hops: Sequence[Hop], *, ended: bool) -> Sequence[Judgement]:
    """One judgement for each of `names`, names of rows of `rules`."""
    judged = []
    for name in names:
        state, hop, why = rules[name].decide(hops, ended)
        judged.append(Judgement(name, state, hop.number if hop else None, why))
    return judged


def verdict(judgements: Sequence[Judgement]) -> Verdict:
    """Failed if one rule is broken; passed if the first, which the scenario is about, was met; else not tried."""
    if any(judgement.state == "broken" for judgement in judgements):
        return "failed"
    return "passed" if judgements and judgements[0].state == "met" else "not_tried"


_METHODS: Final[Mapping[Place, str]] = {Place.AUTHORIZE: "GET", Place.TOKENS: "POST", Place.REGISTER: "POST"}
"""What a client does there. A person's answer to the page of /authorize is a POST, and no request of the client."""


def at(hops: Sequence[Hop], *places: Place) -> Sequence[Hop]:
    """What the client itself did at these places."""
    return [hop for hop in hops if hop.place in places and hop.method in ("", _METHODS.get(hop.place, hop.method))]


def each(hops: Sequence[Hop], fault: Callable[[Hop], str]) -> Finding:
    """Broken by the first hop with a fault, not seen without hops."""
    for hop in hops:
        if why := fault(hop):
            return "broken", hop, why
    return ("met", hops[-1], "every such request was right") if hops else ("not_seen", None, "no such request was made")


def missing(ended: bool, hop: Hop, why: str) -> Finding:
    """Something that has not come: broken once the client has ended, and open until then."""
    return ("broken", hop, why) if ended else ("not_seen", hop, f"so far: {why}")


def calls(hops: Sequence[Hop]) -> Sequence[Hop]:
    """The tools that were called with a token, and answered."""
    return [hop for hop in hops if hop.place is Place.MCP and hop.status == 200 and _calls(hop)]


def _calls(hop: Hop) -> bool:
    return hop.sent.get("method") == "tools/call" and bool(hop.sent.get("token"))
