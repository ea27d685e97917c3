"""Rules about stopping: where a right client refuses to go on, or gives up after a few attempts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules.judging import Decide, Finding, at, calls
from switchboard.lab.rules.sending import GIVEN_CLIENT

MOST_ATTEMPTS: Final = 3
"""After as many a client that still tries the same thing does not stop. Ours: the specification says "a few"."""


Seen = Callable[[Hop], bool]
"""Whether a hop tells the client what it has to stop for. A person's answer to the page of /authorize may be one."""


def told(place: Place, member: str) -> Seen:
    """An answer at `place` that has this member or parameter."""
    return lambda hop: hop.place is place and member in hop.answered


def never(place: Place, seen: Seen, why: str) -> Decide:
    """Nothing is asked at `place`, once a hop has told the client why not; `why` is said where it is."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        if went := at(hops, place):
            return "broken", went[0], why
        return _stopped([hop for hop in hops if seen(hop)], ended)

    return decide


def stops(place: Place, seen: Seen) -> Decide:
    """At `place` at most `MOST_ATTEMPTS` requests are made that do not help."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        asked = at(hops, place)
        if len(asked) > MOST_ATTEMPTS:
            return "broken", asked[MOST_ATTEMPTS], f"tried {len(asked)} times"
        return _stopped([hop for hop in hops if seen(hop)], ended)

    return decide


def registers_where_offered(hops: Sequence[Hop], ended: bool) -> Finding:
    """No registration where none is named, nor a client id that was got elsewhere."""
    if registered := at(hops, Place.REGISTER):
        return "broken", registered[0], "it registered at an address that no metadata name"
    strange = [hop for hop in at(hops, Place.AUTHORIZE) if hop.sent.get("client_id") != GIVEN_CLIENT]
    if strange:
        return "broken", strange[0], "its client_id is not known here: it was got at an address that no metadata name"
    return _stopped([hop for hop in hops if told(Place.ISSUER_METADATA, "issuer")(hop)], ended)


def gets_in_or_stops(hops: Sequence[Hop], ended: bool) -> Finding:
    """It gets a token that is good, or stops asking for others."""
    if found := calls(hops):
        return "met", found[-1], "a tool was called with the token"
    return stops_after_refusal(hops, ended)


def _stopped(seen: Sequence[Hop], ended: bool) -> Finding:
    if not seen:
        return "not_seen", None, "the client did not come to what it has to stop for"
    return ("met", seen[-1], "the client stopped") if ended else ("not_seen", seen[-1], "so far it has stopped")


def stops_after_refusal(hops: Sequence[Hop], ended: bool) -> Finding:
    """After a 403, or a 401 for a token, a new token is asked for a few times at most."""
    refused = [hop for hop in at(hops, Place.MCP) if hop.sent.get("token") and hop.status in (401, 403)]
    if not refused:
        return "not_seen", None, "no token was refused"
    asked = [hop for hop in at(hops, Place.AUTHORIZE, Place.TOKENS) if hop.number > refused[0].number and _asks(hop)]
    if len(asked) > MOST_ATTEMPTS:
        return "broken", asked[MOST_ATTEMPTS], f"asked {len(asked)} times for what is never granted"
    return ("met", refused[-1], "the client stopped") if ended else ("not_seen", refused[-1], "so far: few attempts")


def _asks(hop: Hop) -> bool:
    """Whether it asks for a new token; the redemption of a code is the second half of an authorization."""
    return hop.place is Place.AUTHORIZE or hop.sent.get("grant_type") == "refresh_token"
