"""Rules about stopping: where a right client refuses to go on, or gives up after a few attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules.judging import Decide, Finding, at

MOST_ATTEMPTS: Final = 3
"""After as many a client that still tries the same thing does not stop. Ours: the specification says "a few"."""


def never(place: Place, seen_at: Place, why: str) -> Decide:
    """Nothing is asked at `place`, once `seen_at` has told the client why not; `why` is said where it is."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        if went := at(hops, place):
            return "broken", went[0], why
        seen = [hop for hop in at(hops, seen_at) if hop.status < 400]
        if not seen:
            return "not_seen", None, f"{seen_at} was not asked"
        return ("met", seen[-1], "the client stopped") if ended else ("not_seen", seen[-1], "so far it has stopped")

    return decide


def stops(place: Place, *, first: int = 0) -> Decide:
    """At `place` at most `MOST_ATTEMPTS` requests are made that do not help, after so many `first` ones that do."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        asked = at(hops, place)
        if len(asked) > first + MOST_ATTEMPTS:
            return "broken", asked[first + MOST_ATTEMPTS], f"tried {len(asked) - first} times"
        if not asked:
            return "not_seen", None, f"{place} was not asked"
        return ("met", asked[-1], "the client stopped") if ended else ("not_seen", asked[-1], "so far: few attempts")

    return decide


def stops_after_refusal(hops: Sequence[Hop], ended: bool) -> Finding:
    """After a 403, or a 401 for a token, a new token is asked for a few times at most."""
    refused = [
        hop
        for hop in at(hops, Place.MCP)
        if hop.status == 403 or (hop.status == 401 and (hop.sent.get("token") is not None))
    ]
    if not refused:
        return "not_seen", None, "nothing was refused"
    asked = [hop for hop in at(hops, Place.AUTHORIZE, Place.TOKENS) if hop.number > refused[0].number and _asks(hop)]
    if len(asked) > MOST_ATTEMPTS:
        return "broken", asked[MOST_ATTEMPTS], f"asked {len(asked)} times for what is never granted"
    return ("met", refused[-1], "the client stopped") if ended else ("not_seen", refused[-1], "so far: few attempts")


def _asks(hop: Hop) -> bool:
    """Whether it asks for a new token; the redemption of a code is the second half of an authorization."""
    return hop.place is Place.AUTHORIZE or hop.sent.get("grant_type") == "refresh_token"
